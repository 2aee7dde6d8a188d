import { defineAuthenticator, type Identity } from 'portico/authenticator'
import { z } from 'zod'

/** What the directory says of somebody; `gone` ends their login, `fails` answers nothing. */
export type Entry = Omit<Identity, 'userName'> | 'gone' | 'fails'

/** People by name; may change while the hub runs. */
export type Directory = Map<string, Entry>

/** An authenticator that believes whoever the directory has, with the password `x`, and looks again at each refresh. */
export function directoryDriver(people: Directory) {
  const find = (userName: string): Identity | null => {
    const entry = people.get(userName)
    if (entry === 'fails') throw new Error('the directory does not answer')
    return entry && entry !== 'gone' ? { userName, ...entry } : null
  }
  return defineAuthenticator({
    name: 'directory',
    config: z.strictObject({}),
    allows: () => true,
    create: () => ({
      async authenticate({ form }) {
        const identity = find(form['username'] ?? '')
        return identity && form['password'] === 'x'
          ? { kind: 'identified', identity }
          : { kind: 'denied', reason: identity ? 'wrong password' : 'nobody of this name' }
      },
      refresh: async ({ userName }) => find(userName),
    }),
  })
}
