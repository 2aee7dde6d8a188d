import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    // Who may open the service: here everybody, by the role that every user has.
    extraUserScopes: ['access:services!service=whoami'],
  },
  // For trying it out on this machine only: every password will do, and root may try it, too.
  authenticator: { driver: 'dummy', allowedUsers: ['ada', 'grace'] },
  spawner: { driver: 'simple', allowRoot: true },
  services: [
    {
      name: 'whoami',
      url: 'http://127.0.0.1:10101',
      command: [process.execPath, 'service.js'],
      // What the service may do in the name of whoever logs in to it.
      oauthClientAllowedScopes: ['read:servers!user'],
    },
  ],
})
