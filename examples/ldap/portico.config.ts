import { defineConfig } from 'portico/config'

export default defineConfig({
  hub: {
    bindUrl: 'http://127.0.0.1:8000',
    // The https address of the front end that stands before Portico:
    // publicUrl: 'https://hub.example.org',
  },
  authenticator: {
    driver: 'ldap',
    // Several servers of the same directory: the next is asked when one does not answer.
    serverAddress: ['ldap.example.org'],
    // StartTLS. For ldaps on port 636: 'on_connect'.
    tlsStrategy: 'before_bind',
    // A directory with certificates of its own authority:
    // tlsCaFile: '/etc/ssl/certs/example-ca.pem',
    bindDnTemplate: 'uid={username},ou=people,dc=example,dc=org',
    allowedGroups: ['cn=staff,ou=groups,dc=example,dc=org'],
    adminGroups: ['cn=admins,ou=groups,dc=example,dc=org'],
    userInfoAttributes: { display_name: 'cn' },
  },
  spawner: { driver: 'local' },
})
