import Sqlite from 'better-sqlite3'
import {
  jupyterHubHash,
  type Seed,
  seededActivity,
  seededName,
  seededToken,
  type SharedServer,
} from './seed.ts'

/** Fills a database of JupyterHub 3.0.0 whose schema is there. No hub may have it open. */
export function seedJupyterhub(file: string, seed: Seed, { identity, url }: SharedServer): void {
  const db = new Sqlite(file)
  const now = Date.now()
  const time = (ms: number): string =>
    new Date(ms).toISOString().replace('T', ' ').replace('Z', '000')
  const [user, group, member, role, location, client, spawner, token] = [
    `INSERT INTO users (name, admin, created, last_activity, cookie_id, state) VALUES (?, 0, ?, ?, ?, '{}')`,
    `INSERT INTO groups (name) VALUES (?)`,
    `INSERT INTO user_group_map (user_id, group_id) VALUES (?, ?)`,
    `INSERT INTO user_role_map (user_id, role_id) SELECT ?, id FROM roles WHERE name = 'user'`,
    `INSERT INTO servers (proto, ip, port, base_url, cookie_name) VALUES ('http', ?, ?, ?, 'cookie')`,
    `INSERT INTO oauth_clients (identifier, description, secret, redirect_uri, allowed_scopes) VALUES (?, ?, '', ?, '[]')`,
    `INSERT INTO spawners (user_id, server_id, state, name, started, last_activity, user_options, oauth_client_id)
     VALUES (?, ?, ?, '', ?, ?, '{}', ?)`,
    `INSERT INTO api_tokens (user_id, hashed, prefix, client_id, created, note, scopes) VALUES (?, ?, ?, 'jupyterhub', ?, ?, ?)`,
  ].map((text) => db.prepare(text))
  if (!user || !group || !member || !role || !location || !client || !spawner || !token)
    throw new Error('unreachable')
  const state = JSON.stringify({ pid: identity.pid })
  db.transaction(() => {
    const groups = Array.from(
      { length: seed.groups },
      (_, index) => group.run(`group${String(index).padStart(4, '0')}`).lastInsertRowid,
    )
    for (let index = 0; index < seed.users; index += 1) {
      const name = seededName(index)
      const at = time(seededActivity(index, now))
      const id = user.run(name, time(now), at, seededToken(index).slice(0, 32)).lastInsertRowid
      role.run(id)
      if (groups.length > 0) member.run(id, groups[index % groups.length])
      if (index >= seed.running) continue
      const path = `/user/${name}/`
      const place = location.run(url.hostname, Number(url.port), path).lastInsertRowid
      const identifier = `jupyterhub-user-${name}`
      client.run(identifier, `Server at ${path}`, `${path}oauth_callback`)
      spawner.run(id, place, state, time(now), at, identifier)
      const secret = seededToken(index)
      const scopes = JSON.stringify([`users:activity!user=${name}`])
      const note = `Server at ${path}`
      token.run(id, jupyterHubHash(secret), secret.slice(0, 4), time(now), note, scopes)
    }
  })()
  db.close()
}
