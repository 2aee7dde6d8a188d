/**
 * Makes an element. Properties beginning with `on` are event listeners, `class` and the rest are
 * attributes (false or null leaves one out). Strings become text, never markup.
 */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(key, value === true ? '' : String(value))
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false))
  return element
}

const shapes = {
  folder: 'M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z',
  file: 'M6 3h8l5 5v11a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zM14 3v5h5',
  blocked: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM5.7 5.7l12.6 12.6',
  more: 'M12 5v.01M12 12v.01M12 19v.01',
  close: 'M6 6l12 12M18 6L6 18',
  plus: 'M12 5v14M5 12h14',
  upload: 'M12 16V4M7 9l5-5 5 5M4 20h16',
}

/** A decorative line drawing; the control it sits in carries the name. */
export function icon(shape) {
  const space = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(space, 'svg')
  for (const [key, value] of [
    ['viewBox', '0 0 24 24'],
    ['class', `icon icon-${shape}`],
    ['aria-hidden', 'true'],
  ]) {
    svg.setAttribute(key, value)
  }
  const path = document.createElementNS(space, 'path')
  path.setAttribute('d', shapes[shape])
  svg.append(path)
  return svg
}

let hideStatus

/** Says something that is read aloud too. Errors stay until the next message. */
export function say(text, kind = 'info') {
  clearTimeout(hideStatus)
  const status = document.getElementById('status')
  status.className = `status shown ${kind}`
  status.replaceChildren(
    text,
    el('button', { class: 'quiet', 'aria-label': 'Dismiss', onclick: () => hide() }, icon('close')),
  )
  const hide = () => status.classList.remove('shown')
  if (kind === 'info') hideStatus = setTimeout(hide, 5000)
}

/** Runs an action of the user; what goes wrong is said. */
export async function attempt(work) {
  try {
    return await work()
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), 'error')
    return undefined
  }
}

/**
 * A modal question. `choices` are `{ value, label, kind }`, the first is what Enter does; `input`
 * is `{ label, value }`. Resolves with `{ choice, text }`, or null when dismissed.
 */
export function ask({ title, text, input, choices }) {
  const field = input && el('input', { id: 'dialog-input', value: input.value, required: true })
  const cancel = el('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel')
  const buttons = choices.map(({ value, label, kind }) =>
    el('button', { value, class: kind ?? '' }, label),
  )
  const form = el(
    'form',
    { method: 'dialog' },
    el('h2', { id: 'dialog-title' }, title),
    text ? el('p', {}, text) : null,
    field ? el('label', { for: 'dialog-input' }, input.label) : null,
    field ?? null,
    el('div', { class: 'buttons' }, cancel, buttons.toReversed()),
  )
  const dialog = el('dialog', { 'aria-labelledby': 'dialog-title' }, form)
  let answer = null
  form.addEventListener('submit', (event) => {
    answer = { choice: event.submitter?.value || choices[0].value, text: field?.value ?? '' }
  })
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.target !== field) return
    event.preventDefault()
    form.requestSubmit(buttons[0])
  })
  document.body.append(dialog)
  dialog.showModal()
  selectStem(field)
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(answer)
    })
  })
}

/** Selects a name without its extension, ready to be typed over. */
function selectStem(field) {
  if (!field) return
  const dot = field.value.lastIndexOf('.')
  field.focus()
  field.setSelectionRange(0, dot > 0 ? dot : field.value.length)
}

let menus = 0

/** A button that opens a menu of `{ label, run, href, kind }`; arrow keys move within it. */
export function menu(label, items) {
  const id = `menu-${++menus}`
  const list = el('div', { id, class: 'menu', popover: 'auto', role: 'menu' })
  const button = el(
    'button',
    { class: 'quiet', 'aria-label': label, 'aria-haspopup': 'menu', popovertarget: id },
    icon('more'),
  )
  list.append(...items.map((item) => menuItem(item, () => list.hidePopover())))
  list.addEventListener('toggle', (event) => {
    if (event.newState !== 'open') return
    place(list, button.getBoundingClientRect())
    list.firstElementChild.focus()
  })
  list.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (!step) return
    event.preventDefault()
    const entries = [...list.children]
    const at = entries.indexOf(document.activeElement)
    entries[(at + step + entries.length) % entries.length].focus()
  })
  return el('span', { class: 'menu-host' }, button, list)
}

function menuItem({ label, run, href, kind }, close) {
  const properties = { role: 'menuitem', class: kind ?? '', tabindex: '-1' }
  if (href) return el('a', { ...properties, href, download: true, onclick: close }, label)
  const onclick = () => {
    close()
    run()
  }
  return el('button', { ...properties, onclick }, label)
}

function place(list, anchor) {
  const { width, height } = list.getBoundingClientRect()
  const below = anchor.bottom + height + 8 < window.innerHeight
  list.style.left = `${Math.max(8, anchor.right - width)}px`
  list.style.top = `${below ? anchor.bottom + 4 : Math.max(8, anchor.top - height - 4)}px`
}
