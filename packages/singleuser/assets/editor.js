import { go } from './address.js'
import { ApiError, call, urlOf } from './api.js'
import { ask, attempt, el, say } from './dom.js'
import { breadcrumbs } from './files.js'
import { sizeText } from './names.js'

const images = /\.(png|jpe?g|gif|webp|avif|bmp|ico)$/i

/** One file: text to edit, a picture to look at, or something to download. */
export function showEditor(path, element) {
  const folder = path.split('/').slice(0, -1).join('/')
  const name = path.split('/').at(-1)
  const tools = el('div', { class: 'tools' }, downloadLink(path))
  const area = el('div', { class: 'editor' })
  element.append(el('div', { class: 'toolbar' }, breadcrumbs(folder, name), tools), area)
  if (images.test(name)) {
    area.append(el('img', { class: 'picture', src: urlOf('files', path), alt: name }))
    return {}
  }
  const editor = new Editor(path, area, tools)
  void editor.load()
  return { mayLeave: () => editor.mayLeave(), leave: () => editor.leave() }
}

function downloadLink(path) {
  return el('a', { class: 'button', href: urlOf('files', path), download: true }, 'Download')
}

class Editor {
  #path
  #area
  #tools
  #text
  #state = el('span', { class: 'muted', role: 'status' })
  #save = el('button', { class: 'primary', disabled: true, onclick: () => this.save() }, 'Save')
  #saved = ''
  #etag = ''
  #newline = '\n'
  #saving = false
  /** Set by Escape, so that the next Tab leaves the text instead of indenting it. */
  #tabLeaves = false

  constructor(path, area, tools) {
    this.#path = path
    this.#area = area
    this.#tools = tools
    this.#text = el('textarea', {
      class: 'code',
      'aria-label': `Content of ${path}`,
      'aria-describedby': 'editor-hint',
      spellcheck: 'false',
      autocapitalize: 'off',
      autocomplete: 'off',
      wrap: 'off',
      oninput: () => this.#mark(),
      onkeydown: (event) => this.#onKey(event),
    })
    tools.prepend(this.#state)
    tools.append(this.#save)
    window.addEventListener('beforeunload', this.#warn)
    document.addEventListener('keydown', this.#onSaveKey)
  }

  async load() {
    try {
      const file = await call('GET', `${urlOf('api/contents', this.#path)}?type=file`)
      if (file.format === 'text') this.#open(file)
      else this.#showOther(file)
    } catch (error) {
      this.#area.replaceChildren(el('p', { class: 'notice' }, error.message))
    }
  }

  #showOther(file) {
    this.#tools.remove()
    this.#area.replaceChildren(notText(file))
  }

  #open(file) {
    const hint = 'Ctrl+S saves. Tab indents; press Escape first to leave the text with Tab.'
    this.#etag = file.etag
    this.#newline = newlineOf(file.content)
    this.#text.value = file.content
    this.#text.readOnly = !file.writable
    this.#saved = this.#text.value
    this.#area.replaceChildren(
      this.#text,
      el(
        'p',
        { id: 'editor-hint', class: 'hint' },
        file.writable ? hint : 'This file is read-only.',
      ),
    )
    this.#mark()
    this.#text.setSelectionRange(0, 0)
    this.#text.focus()
  }

  /** Saves; when the file has changed on disk meanwhile, asks what should win. */
  async save(force = false) {
    if (this.#saving || this.#save.disabled) return
    this.#saving = true
    const text = this.#text.value
    try {
      const content = this.#newline === '\n' ? text : text.replaceAll('\n', this.#newline)
      const body = { type: 'file', format: 'text', content }
      const headers = force ? {} : { 'If-Match': this.#etag }
      const file = await call('PUT', urlOf('api/contents', this.#path), { body, headers })
      this.#etag = file.etag
      this.#saved = text
      this.#mark()
    } catch (error) {
      this.#saving = false
      if (error instanceof ApiError && error.status === 412) await this.#settle(error.message)
      else say(`Not saved. ${error.message}`, 'error')
    } finally {
      this.#saving = false
    }
  }

  async #settle(message) {
    const answer = await ask({
      title: 'The file is not as you opened it',
      text: `${message}. Saving replaces what is there now.`,
      choices: [
        { value: 'replace', label: 'Save mine', kind: 'danger' },
        { value: 'reload', label: 'Load theirs' },
      ],
    })
    if (answer?.choice === 'replace') await this.save(true)
    if (answer?.choice === 'reload') await attempt(() => this.load())
  }

  async mayLeave() {
    if (!this.#isChanged()) return true
    const answer = await ask({
      title: 'Leave without saving?',
      text: `Your changes to ${this.#path} would be lost.`,
      choices: [{ value: 'leave', label: 'Leave', kind: 'danger' }],
    })
    return answer !== null
  }

  leave() {
    window.removeEventListener('beforeunload', this.#warn)
    document.removeEventListener('keydown', this.#onSaveKey)
  }

  #isChanged() {
    return this.#text.value !== this.#saved
  }

  #mark() {
    const changed = this.#isChanged()
    this.#save.disabled = !changed
    const state = changed ? 'Not saved' : 'Saved'
    if (this.#state.textContent !== state) this.#state.textContent = state
  }

  #warn = (event) => {
    if (this.#isChanged()) event.preventDefault()
  }

  #onSaveKey = (event) => {
    if (event.key.toLowerCase() !== 's' || !(event.ctrlKey || event.metaKey) || event.altKey) return
    event.preventDefault()
    void this.save()
  }

  #onKey(event) {
    if (event.key === 'Escape') this.#tabLeaves = true
    else if (event.key === 'Tab' && !event.shiftKey && !event.ctrlKey && !this.#tabLeaves) {
      event.preventDefault()
      // The one way to insert text that the browser's own undo still undoes.
      document.execCommand('insertText', false, /^\t/m.test(this.#saved) ? '\t' : '    ')
    } else if (event.key !== 'Shift') this.#tabLeaves = false
  }
}

/** A text area holds line feeds only; a file that is all CRLF gets its ending back when saved. */
function newlineOf(content) {
  return content.includes('\r\n') && !/[^\r]\n|^\n/.test(content) ? '\r\n' : '\n'
}

function notText(file) {
  const back = file.path.split('/').slice(0, -1).join('/')
  const leave = () => void go(back === '' ? `${urlOf('tree')}/` : urlOf('tree', back))
  return el(
    'div',
    { class: 'notice' },
    el(
      'p',
      {},
      el('strong', {}, 'This file is not text.'),
      ` ${sizeText(file.size)} of other data.`,
    ),
    el(
      'div',
      { class: 'buttons' },
      downloadLink(file.path),
      el('button', { onclick: leave }, 'Back'),
    ),
  )
}
