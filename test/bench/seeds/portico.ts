import Sqlite from 'better-sqlite3'
import {
  jupyterHubHash,
  type Seed,
  seededActivity,
  seededName,
  seededToken,
  type SharedServer,
} from './seed.ts'

/** Fills a Portico database whose schema is there. No hub may have it open. */
export function seedPortico(file: string, seed: Seed, { identity, url }: SharedServer): void {
  const db = new Sqlite(file)
  const now = Date.now()
  const [user, group, member, role, server, token] = [
    `INSERT INTO users (name, name_key, admin, blocked, created_at, last_activity_at) VALUES (?, ?, 0, 0, ?, ?)`,
    `INSERT INTO groups (name, name_key, properties, managed_by_auth, created_at) VALUES (?, ?, '{}', 0, ?)`,
    `INSERT INTO user_groups (user_id, group_id, managed_by_auth) VALUES (?, ?, 0)`,
    `INSERT INTO user_roles (user_id, role_id, managed_by_auth) SELECT ?, id, 0 FROM roles WHERE name = 'user'`,
    `INSERT INTO servers (user_id, name, state, url, spawner, spawner_state, user_options, last_options,
       generation, state_since_at, created_at, started_at, last_activity_at)
     VALUES (?, '', 'ready', ?, 'simple', ?, 'null', 'null', 1, ?, ?, ?, ?)`,
    `INSERT INTO api_tokens (user_id, server_id, hashed, prefix, scopes, note, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
  ].map((text) => db.prepare(text))
  if (!user || !group || !member || !role || !server || !token) throw new Error('unreachable')
  db.transaction(() => {
    const groups = Array.from({ length: seed.groups }, (_, index) => {
      const name = `group${String(index).padStart(4, '0')}`
      return group.run(name, name, now).lastInsertRowid
    })
    for (let index = 0; index < seed.users; index += 1) {
      const name = seededName(index)
      const at = seededActivity(index, now)
      const id = user.run(name, name, now, at).lastInsertRowid
      role.run(id)
      if (groups.length > 0) member.run(id, groups[index % groups.length])
      if (index >= seed.running) continue
      const saved = JSON.stringify({ identity })
      const row = server.run(id, url.origin, saved, now, now, now, at).lastInsertRowid
      const secret = seededToken(index)
      const scopes = JSON.stringify([`users:activity!user`, `access:servers!server=${name}/`])
      const note = `Server at /user/${name}/`
      token.run(id, row, jupyterHubHash(secret), secret.slice(0, 4), scopes, note, now)
    }
  })()
  db.close()
}
