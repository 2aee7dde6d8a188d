import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    bindUrl: 'http://127.0.0.1:8000',
    // The https address of the front end that stands before Portico:
    // publicUrl: 'https://hub.example.org',
  },
  authenticator: {
    driver: 'github',
    clientId: 'the client id of your OAuth app',
    // A file of the hub's account, mode 0600.
    clientSecretFile: '/etc/portico/github-secret',
    // Follows from publicUrl where that is set.
    oauthCallbackUrl: 'http://127.0.0.1:8000/hub/oauth_callback',
    // Sees private memberships too.
    scope: ['read:org'],
    allowedOrganizations: ['your-organisation'],
    adminUsers: ['your-login'],
  },
  spawner: { driver: 'local' },
})
