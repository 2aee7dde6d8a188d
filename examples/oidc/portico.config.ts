import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    bindUrl: 'http://127.0.0.1:8000',
    // The https address of the front end that stands before Portico:
    // publicUrl: 'https://hub.example.org',
  },
  authenticator: {
    driver: 'oidc',
    issuer: 'https://sso.example.org',
    clientId: 'the-hub',
    // A file of the hub's account, mode 0600.
    clientSecretFile: '/etc/portico/oidc-secret',
    // Follows from publicUrl where that is set.
    oauthCallbackUrl: 'http://127.0.0.1:8000/hub/oauth_callback',
    usernameClaim: 'preferred_username',
    allowedGroups: ['staff'],
    adminGroups: ['hub-admins'],
    // Logging out here logs out there, and the other way round.
    logoutAtProvider: true,
  },
  spawner: { driver: 'local' },
})
