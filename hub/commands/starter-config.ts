/** A config that works as it is on the machine it was written on, and says what to change. */
export function starterConfig(site: {
  /** Who may log in, and is admin. */
  readonly userName: string
  /** Of the test login. */
  readonly password: string
  readonly isRoot: boolean
}): string {
  const user = JSON.stringify(site.userName).replaceAll('"', "'")
  return `// The configuration of Portico. Every option: docs/options.md.
// Check it:         npm run portico -- config check
// See it in force:  npm run portico -- config print
import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    // Where browsers connect. Behind an https front end, keep it on this machine...
    bindUrl: 'http://127.0.0.1:8000',
    // ...and name the front end's address here.
    // publicUrl: 'https://jupyter.example.org',

    // Who may see everybody's servers and settings.
    adminUsers: [${user}],

    // Database, secrets and logs. Default: /var/lib/portico for root, else ~/.local/state/portico.
    // dataDir: '/srv/portico',
  },

  authenticator: {
    // A login for trying things out: one password for everybody named below. It is refused on an
    // address that other machines can reach.
    driver: 'dummy',
    password: '${site.password}',

    // Who may come in. Nobody else can.
    allowedUsers: [${user}],
  },

  spawner: {
${spawnerLines(site.isRoot)}
    // First page of a server.
    // defaultUrl: '/lab',

    // Variables for every server.
    // environment: { COURSE: 'physics-1' },
  },
})
`
}

function spawnerLines(isRoot: boolean): string {
  return isRoot
    ? `    // Each server runs as the system account that has the user's name.
    driver: 'local',
`
    : `    // All servers run as the account that runs the hub. As root, 'local' gives everybody their own.
    driver: 'simple',
`
}
