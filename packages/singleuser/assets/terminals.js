import { replaceAddress } from './address.js'
import { call, terminalProblem, urlOf } from './api.js'
import { attempt, el, icon, say } from './dom.js'
import { TerminalScreen } from './terminal-screen.js'

/** The open terminals as tabs, and one of them. */
export function showTerminals(name, element) {
  if (terminalProblem !== '') {
    element.append(
      el(
        'div',
        { class: 'notice' },
        el('p', {}, el('strong', {}, 'There is no terminal on this server.')),
        el('p', {}, terminalProblem),
      ),
    )
    return {}
  }
  const tabs = new TerminalTabs(name, element)
  void attempt(() => tabs.load())
  return { leave: () => tabs.leave() }
}

class TerminalTabs {
  #wanted
  #names = []
  #list = el('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Terminals' })
  #add = el('button', {
    class: 'quiet',
    'aria-label': 'New terminal',
    onclick: () => this.#create(),
  })
  #holder = el('div', { class: 'screen', role: 'tabpanel', id: 'terminal-panel' })
  #screen = null
  #left = false

  constructor(name, element) {
    this.#wanted = name
    this.#add.append(icon('plus'))
    this.#list.addEventListener('keydown', (event) => this.#onKey(event))
    const hint = el('p', { class: 'hint' }, 'F6 moves from the terminal to its tabs.')
    element.append(el('div', { class: 'tab-row' }, this.#list, this.#add), this.#holder, hint)
  }

  async load() {
    const open = await call('GET', urlOf('api/terminals'))
    this.#names = open.map(({ name }) => name)
    if (this.#left) return
    if (this.#names.length === 0) return this.#create()
    this.#show(this.#names.includes(this.#wanted) ? this.#wanted : this.#names.at(-1))
  }

  leave() {
    this.#left = true
    this.#screen?.dispose()
  }

  #create() {
    return attempt(async () => {
      const { name } = await call('POST', urlOf('api/terminals'))
      this.#names.push(name)
      if (!this.#left) this.#show(name)
    })
  }

  #show(name) {
    this.#wanted = name
    this.#screen?.dispose()
    this.#holder.replaceChildren()
    this.#draw()
    replaceAddress(urlOf('terminals', name))
    this.#screen = new TerminalScreen(name, this.#holder, {
      exited: () => this.#gone(name),
      leaveFocus: () => this.#selected()?.focus(),
    })
    void attempt(() => this.#screen.open())
  }

  #close(name) {
    return attempt(async () => {
      await call('DELETE', urlOf('api/terminals', name)).catch((error) => {
        if (error.status !== 404) throw error
      })
      this.#gone(name)
    })
  }

  #gone(name) {
    if (!this.#names.includes(name) || this.#left) return undefined
    this.#names = this.#names.filter((other) => other !== name)
    if (name !== this.#wanted) return this.#draw()
    this.#screen?.dispose()
    this.#screen = null
    const next = this.#names.at(-1)
    if (next !== undefined) return this.#show(next)
    this.#draw()
    replaceAddress(urlOf('terminals'))
    this.#holder.replaceChildren(
      el(
        'div',
        { class: 'notice' },
        el('p', {}, el('strong', {}, 'No terminal is open.')),
        el('button', { class: 'primary', onclick: () => this.#create() }, 'New terminal'),
      ),
    )
    return say(`Terminal ${name} is closed.`)
  }

  #draw() {
    this.#list.replaceChildren(...this.#names.map((name) => this.#tab(name)))
  }

  #tab(name) {
    const selected = name === this.#wanted
    const tab = el(
      'button',
      {
        role: 'tab',
        'data-name': name,
        'aria-selected': String(selected),
        'aria-controls': 'terminal-panel',
        tabindex: selected ? '0' : '-1',
        onclick: () => (selected ? this.#screen?.focus() : this.#show(name)),
      },
      `Terminal ${name}`,
    )
    const label = `Close terminal ${name}`
    const close = el('button', { class: 'quiet', 'aria-label': label }, icon('close'))
    close.addEventListener('click', () => this.#close(name))
    return el('span', { class: 'tab', role: 'presentation' }, tab, close)
  }

  #selected() {
    return this.#list.querySelector('[aria-selected="true"]')
  }

  #onKey(event) {
    const from = event.target.dataset.name
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (from === undefined) return
    if (event.key === 'Delete') void this.#close(from)
    if (step === undefined) return
    const at = this.#names.indexOf(from) + step
    const next = this.#names.at(at % this.#names.length)
    for (const tab of this.#list.querySelectorAll('[role="tab"]')) {
      tab.tabIndex = tab.dataset.name === next ? 0 : -1
      if (tab.dataset.name === next) tab.focus()
    }
  }
}
