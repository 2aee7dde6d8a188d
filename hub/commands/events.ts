import type { EventModel } from '../../packages/client/index.ts'
import { hubCommand } from './hub-command.ts'
import { plain } from './table.ts'

/** Follows what happens in the hub. */
export const events = hubCommand({
  name: 'events',
  summary: 'Show what happens in the hub from now on: logins, servers, rights, services.',
  details: 'Ends with Ctrl-C, or with the hub. With --json each line is one JSON document.',
  flags: {
    after: {
      type: 'string',
      value: 'ID',
      help: 'Begin with what has happened since this event, as far as the hub remembers.',
    },
  },
  examples: ['events', 'events --json'],
  async run(client, context) {
    const after = context.flags.text('after')
    for await (const event of client.events(after === undefined ? {} : { after }))
      if (context.flags.has('json')) context.print(JSON.stringify(event))
      else if (event.kind === 'gap') context.warn('portico: earlier events are forgotten')
      else if (event.kind !== 'following') context.print(line(event))
  },
})

function line({ id: _id, kind, at, user, server, group, service, ...facts }: EventModel): string {
  const named = user ?? group ?? service ?? ''
  const subject = server === undefined || server === '' ? named : `${named}/${server}`
  const rest = Object.entries(facts).map(([name, value]) => `${name}=${String(value)}`)
  return plain([at.slice(0, 19).replace('T', ' '), kind, subject, ...rest].join('  '))
}
