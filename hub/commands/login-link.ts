import { type Command, hubFlags } from './command.ts'
import { noHub, reach } from './operator.ts'

export const loginLink: Command = {
  name: 'login-link',
  summary: 'Print a fresh link for logging in to a quick start.',
  details: 'It works once, within 10 minutes.',
  flags: hubFlags,
  examples: ['login-link'],
  async run(context) {
    const reached = await reach(context)
    if (reached.kind !== 'hub') throw noHub(reached.dataDir, context)
    const { url } = await reached.client.loginLink()
    context.print(url)
    return 0
  },
}
