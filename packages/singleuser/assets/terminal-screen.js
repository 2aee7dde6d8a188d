import { urlOf } from './api.js'
import { el, say } from './dom.js'

const dark = matchMedia('(prefers-color-scheme: dark)')

const themes = {
  dark: {
    background: '#0f1518',
    foreground: '#ebe8e1',
    cursor: '#7fd1d1',
    selectionBackground: '#24575b',
    black: '#39424e',
    red: '#ff8b82',
    green: '#7bd88f',
    yellow: '#e8c468',
    blue: '#7db8f5',
    magenta: '#d7a1f9',
    cyan: '#6ed5dd',
    white: '#dbe2ea',
    brightBlack: '#8592a3',
    brightRed: '#ffaaa3',
    brightGreen: '#a0e8ae',
    brightYellow: '#f5dc98',
    brightBlue: '#a6d0fa',
    brightMagenta: '#e6c3fb',
    brightCyan: '#9ee6ec',
    brightWhite: '#ffffff',
  },
  light: {
    background: '#fffdf9',
    foreground: '#1c2327',
    cursor: '#0b5d66',
    selectionBackground: '#bfdedd',
    black: '#1c2430',
    red: '#b3261e',
    green: '#1a6b33',
    yellow: '#7a5500',
    blue: '#0b5cad',
    magenta: '#85309c',
    cyan: '#0b6571',
    white: '#5b6675',
    brightBlack: '#5b6675',
    brightRed: '#c4322a',
    brightGreen: '#22773c',
    brightYellow: '#856000',
    brightBlue: '#1b6dc1',
    brightMagenta: '#9440ab',
    brightCyan: '#137381',
    brightWhite: '#3c4654',
  },
}

/** One terminal on the page: draws what the server sends, sends what is typed, reconnects. */
export class TerminalScreen {
  #name
  #holder
  #events
  #terminal = null
  #fit = null
  #socket = null
  #resizes = null
  #disposed = false
  #retry = null
  #attempts = 0
  /** While earlier output is drawn again, its questions to the terminal must not be answered. */
  #muted = false
  #replaying = false

  constructor(name, holder, events) {
    this.#name = name
    this.#holder = holder
    this.#events = events
  }

  async open() {
    const [{ Terminal }, { FitAddon }] = await Promise.all([
      import('./xterm/xterm.mjs'),
      import('./xterm/addon-fit.mjs'),
      loadStyles(),
    ])
    if (this.#disposed) return
    this.#terminal = new Terminal({
      fontFamily: 'ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 14,
      lineHeight: 1.15,
      scrollback: 5000,
      screenReaderMode: true,
      minimumContrastRatio: 4.5,
      theme: dark.matches ? themes.dark : themes.light,
    })
    this.#fit = new FitAddon()
    this.#terminal.loadAddon(this.#fit)
    this.#terminal.open(this.#holder)
    this.#terminal.attachCustomKeyEventHandler((event) => this.#onKey(event))
    this.#terminal.onData((data) => !this.#muted && this.#send(['stdin', data]))
    this.#terminal.onResize(() => this.#sendSize())
    this.#resizes = new ResizeObserver(() => this.#fit.fit())
    this.#resizes.observe(this.#holder)
    dark.addEventListener('change', this.#onTheme)
    this.#fit.fit()
    this.#terminal.focus()
    this.#connect()
  }

  focus() {
    this.#terminal?.focus()
  }

  dispose() {
    this.#disposed = true
    clearTimeout(this.#retry)
    dark.removeEventListener('change', this.#onTheme)
    this.#resizes?.disconnect()
    this.#socket?.close()
    this.#terminal?.dispose()
  }

  #connect() {
    const url = new URL(urlOf('terminals/websocket', this.#name), location.href)
    url.protocol = url.protocol.replace('http', 'ws')
    const socket = new WebSocket(url)
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => this.#onMessage(JSON.parse(data)))
    socket.addEventListener('close', ({ code }) => this.#onClose(code))
  }

  #onMessage([kind, first]) {
    if (kind === 'setup') {
      if (this.#attempts > 0) say('Connected again.')
      this.#attempts = 0
      this.#terminal.reset()
      this.#replaying = first?.replay === true
      this.#muted = this.#replaying
      this.#sendSize()
    } else if (kind === 'stdout') {
      const replayed = this.#replaying
      this.#replaying = false
      this.#terminal.write(first, () => {
        if (replayed) this.#muted = false
      })
    } else if (kind === 'disconnect') this.#events.exited()
  }

  #onClose(code) {
    if (this.#disposed || code === 1000) return
    if (code === 4403) {
      say('Your access to this server has ended.', 'error')
      return
    }
    this.#attempts++
    if (this.#attempts > 8) {
      say('The terminal is not connected. Reload the page to try again.', 'error')
      return
    }
    if (this.#attempts === 1) say('Connection lost. Trying again…', 'error')
    const pause = Math.min(500 * 2 ** this.#attempts, 10_000)
    this.#retry = setTimeout(() => this.#connect(), pause)
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  #sendSize() {
    this.#send(['set_size', this.#terminal.rows, this.#terminal.cols])
  }

  #onKey(event) {
    if (event.key !== 'F6' || event.type !== 'keydown') return true
    event.preventDefault()
    this.#events.leaveFocus()
    return false
  }

  #onTheme = () => {
    this.#terminal.options.theme = dark.matches ? themes.dark : themes.light
  }
}

let styles = null

function loadStyles() {
  styles ??= new Promise((resolve, reject) => {
    const href = urlOf('assets/xterm/xterm.css')
    const link = el('link', { rel: 'stylesheet', href, onload: resolve, onerror: reject })
    document.head.append(link)
  })
  return styles
}
