import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { WebSocket } from 'ws'

interface Message {
  readonly channel: string
  readonly parent_header: { readonly msg_id?: string }
  readonly msg_type: string
  readonly content: Readonly<Record<string, unknown>>
}

/** The kernel side of a notebook page: runs cells over the one WebSocket that carries all channels. */
export class Kernel implements AsyncDisposable {
  readonly #socket: WebSocket
  readonly #session = randomUUID()
  readonly #messages: Message[] = []

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => this.#messages.push(JSON.parse(data.toString('utf8'))))
  }

  /** Rejects when the server does not upgrade within 30 seconds. */
  static async connect(url: string, headers: Readonly<Record<string, string>>): Promise<Kernel> {
    const socket = new WebSocket(url, { headers: { ...headers }, handshakeTimeout: 30_000 })
    const kernel = new Kernel(socket)
    await once(socket, 'open')
    return kernel
  }

  /** The plain text of the cell's value. A kernel that is still starting drops nothing: it queues. */
  async execute(code: string): Promise<string> {
    const id = randomUUID()
    const header = {
      msg_id: id,
      msg_type: 'execute_request',
      username: '',
      session: this.#session,
      date: new Date().toISOString(),
      version: '5.3',
    }
    const content = { code, silent: false, store_history: false, user_expressions: {} }
    const rest = { parent_header: {}, metadata: {}, buffers: [] }
    this.#socket.send(JSON.stringify({ channel: 'shell', header, content, ...rest }))
    const signal = AbortSignal.timeout(60_000)
    for (;;) {
      const answer = this.#messages.find(
        ({ parent_header: parent, msg_type: type }) =>
          parent.msg_id === id && ['execute_result', 'error'].includes(type),
      )
      if (answer?.msg_type === 'error') throw new Error(JSON.stringify(answer.content))
      if (answer) return (answer.content as { data: { 'text/plain': string } }).data['text/plain']
      await once(this.#socket, 'message', { signal })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    if (this.#socket.readyState !== WebSocket.CLOSED) await once(this.#socket, 'close')
  }
}
