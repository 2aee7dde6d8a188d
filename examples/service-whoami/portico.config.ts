import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    // Who may open the service: here everybody, by the role that every user has.
    extraUserScopes: ['access:services!service=whoami'],
  },
  authenticator: { driver: 'dummy', password: 'try it out', allowedUsers: ['ada', 'grace'] },
  spawner: { driver: 'simple' },
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
