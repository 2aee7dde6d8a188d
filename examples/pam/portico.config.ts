import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    bindUrl: 'http://127.0.0.1:8000',
    // The https address of the front end that stands before Portico:
    // publicUrl: 'https://hub.example.org',
  },
  authenticator: {
    driver: 'pam',
    allowedGroups: ['users'],
    adminGroups: ['sudo'],
    // A one-time code beside the password: uncomment, and add its module to the service file.
    // requestOtp: true,
  },
  spawner: { driver: 'local' },
})
