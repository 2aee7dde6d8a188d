import { type Account, lookUpAccount } from 'portico/process'
import { StartFailed } from 'portico/spawner'

/**
 * The account with exactly this name.
 * @throws {StartFailed} `no-account` when there is none; `unknown` when the sources do not answer.
 */
export async function accountNamed(name: string): Promise<Account> {
  const account = await lookUpAccount(name).catch((cause: Error) => {
    throw new StartFailed({ cause: 'unknown', code: null, message: cause.message }, { cause })
  })
  if (account) return account
  throw new StartFailed({
    cause: 'no-account',
    code: null,
    message: `This machine has no account named ${JSON.stringify(name)}. An administrator must create it.`,
  })
}
