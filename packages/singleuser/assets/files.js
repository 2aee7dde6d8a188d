import { go } from './address.js'
import { call, urlOf } from './api.js'
import { ask, attempt, el, icon, menu, say } from './dom.js'
import { childOf, sizeText } from './names.js'
import { uploadInto } from './uploads.js'

const hiddenKey = 'portico-show-hidden'
const columns = [
  { key: 'name', label: 'Name' },
  { key: 'last_modified', label: 'Modified' },
  { key: 'size', label: 'Size' },
]
let sort = { key: 'name', down: false }

/** The files of one folder. */
export function showFiles(path, element) {
  const state = { path, entries: [], element, hidden: localStorage.getItem(hiddenKey) === '1' }
  const body = el('div', { class: 'listing', 'aria-busy': 'true' })
  const uploads = el('ul', { class: 'uploads', 'aria-label': 'Uploads' })
  const refresh = () => attempt(() => load(state, body, refresh))
  element.append(toolbar(state, body, uploads, refresh), body, uploads)
  acceptDrops(element, (files) => uploadInto(path, files, uploads, refresh))
  void refresh()
  return {}
}

function toolbar(state, body, uploads, refresh) {
  const { path } = state
  const picker = el('input', { type: 'file', multiple: true, hidden: true })
  picker.addEventListener('change', () => {
    const chosen = [...picker.files]
    picker.value = ''
    void uploadInto(path, chosen, uploads, refresh)
  })
  const hidden = el('input', { type: 'checkbox' })
  hidden.checked = state.hidden
  hidden.addEventListener('change', () => {
    state.hidden = hidden.checked
    localStorage.setItem(hiddenKey, hidden.checked ? '1' : '0')
    body.replaceChildren(listing(state, refresh))
  })
  return el(
    'div',
    { class: 'toolbar' },
    breadcrumbs(path),
    el(
      'div',
      { class: 'tools' },
      el('label', { class: 'check' }, hidden, 'Hidden files'),
      el('button', { onclick: () => create(path, 'directory', refresh) }, 'New folder'),
      el('button', { onclick: () => create(path, 'file', refresh) }, 'New file'),
      el('button', { class: 'primary', onclick: () => picker.click() }, icon('upload'), 'Upload'),
      picker,
    ),
  )
}

/** Where a path is, each part a link; `leaf` is a last part that is no folder. */
export function breadcrumbs(path, leaf = null) {
  const names = path === '' ? [] : path.split('/')
  const steps = [{ label: 'Home', path: '' }]
  for (const [at, name] of names.entries()) {
    steps.push({ label: name, path: names.slice(0, at + 1).join('/') })
  }
  const items = steps.map((step, at) => {
    const here = leaf === null && at === steps.length - 1
    const href = step.path === '' ? `${urlOf('tree')}/` : urlOf('tree', step.path)
    return el('li', {}, el('a', { href, 'aria-current': here && 'page' }, step.label))
  })
  if (leaf !== null) items.push(el('li', {}, el('span', { 'aria-current': 'page' }, leaf)))
  return el('nav', { class: 'crumbs', 'aria-label': 'Folder' }, el('ol', {}, items))
}

async function load(state, body, refresh) {
  try {
    const folder = await call('GET', urlOf('api/contents', state.path))
    if (folder.type !== 'directory') return go(urlOf('edit', state.path))
    state.entries = folder.content
    const again = body.childElementCount > 0
    body.replaceChildren(listing(state, refresh))
    // What had the focus may be gone, such as the menu of a deleted file.
    if (again && document.activeElement === document.body) document.getElementById('view').focus()
  } catch (error) {
    body.replaceChildren(el('p', { class: 'notice' }, error.message))
    throw error
  } finally {
    body.setAttribute('aria-busy', 'false')
  }
  return undefined
}

function listing(state, refresh) {
  const visible = state.entries.filter((entry) => state.hidden || !entry.name.startsWith('.'))
  if (visible.length === 0) {
    const hint = 'Drop files here, or use the buttons above.'
    return el('p', { class: 'notice' }, el('strong', {}, 'This folder is empty.'), ` ${hint}`)
  }
  const redraw = () => table.replaceWith(listing(state, refresh))
  const heads = columns.map(({ key, label }) => header(key, label, redraw))
  const rows = visible.toSorted(compare).map((entry) => row(entry, refresh))
  const actions = el(
    'th',
    { scope: 'col', class: 'actions' },
    el('span', { class: 'sr' }, 'Actions'),
  )
  const table = el(
    'table',
    { class: 'files' },
    el('caption', { class: 'sr' }, `Files in ${state.path || 'Home'}`),
    el('thead', {}, el('tr', {}, heads, actions)),
    el('tbody', {}, rows),
  )
  return table
}

function header(key, label, redraw) {
  const sorted = sort.key === key && (sort.down ? 'descending' : 'ascending')
  const onclick = () => {
    sort = { key, down: sort.key === key && !sort.down }
    redraw()
    document.querySelector(`th.${key} button`)?.focus()
  }
  return el(
    'th',
    { scope: 'col', class: key, 'aria-sort': sorted },
    el('button', { onclick }, label),
  )
}

function compare(a, b) {
  const folders = (b.type === 'directory') - (a.type === 'directory')
  if (folders !== 0) return folders
  const names = a.name.localeCompare(b.name, undefined, { numeric: true })
  const [x, y] = [a[sort.key] ?? -1, b[sort.key] ?? -1]
  const order = sort.key === 'name' ? names : x < y ? -1 : x > y ? 1 : names
  return sort.down ? -order : order
}

function row(entry, refresh) {
  const modified = new Date(entry.last_modified)
  const when = modified.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' })
  return el(
    'tr',
    {},
    el('th', { scope: 'row', class: 'name' }, nameCell(entry)),
    el('td', { class: 'last_modified' }, el('time', { datetime: entry.last_modified }, when)),
    el('td', { class: 'size' }, entry.size === null ? '' : sizeText(entry.size)),
    el('td', { class: 'actions' }, menu(`Actions for ${entry.name}`, actionsOf(entry, refresh))),
  )
}

function nameCell(entry) {
  const { name, path, type, openable } = entry
  if (!openable) {
    const why = 'A link that leads out of this folder tree, or not a regular file'
    return el('span', { class: 'entry', title: why }, icon('blocked'), el('span', {}, name))
  }
  const folder = type === 'directory'
  const href = urlOf(folder ? 'tree' : 'edit', path)
  return el('a', { class: 'entry', href }, icon(folder ? 'folder' : 'file'), el('span', {}, name))
}

function actionsOf(entry, refresh) {
  const { path, type, openable } = entry
  const download = { label: 'Download', href: urlOf('files', path) }
  return [
    ...(openable && type !== 'directory' ? [download] : []),
    { label: 'Rename…', run: () => void attempt(() => rename(entry, refresh)) },
    { label: 'Delete…', kind: 'danger', run: () => void attempt(() => remove(entry, refresh)) },
  ]
}

async function create(folder, type, refresh) {
  const what = type === 'directory' ? 'folder' : 'file'
  const answer = await ask({
    title: `New ${what}`,
    input: { label: 'Name', value: type === 'directory' ? 'New folder' : 'untitled.txt' },
    choices: [{ value: 'create', label: 'Create', kind: 'primary' }],
  })
  if (!answer) return
  await attempt(async () => {
    const path = childOf(folder, answer.text)
    const body = { type, format: 'text', content: '' }
    const headers = { 'If-None-Match': '*' }
    await call('PUT', urlOf('api/contents', path), { body, headers })
    if (type === 'file') await go(urlOf('edit', path))
    else await refresh()
  })
}

async function rename(entry, refresh) {
  const answer = await ask({
    title: `Rename ${entry.name}`,
    input: { label: 'New name', value: entry.name },
    choices: [{ value: 'rename', label: 'Rename', kind: 'primary' }],
  })
  if (!answer || answer.text === entry.name) return
  const folder = entry.path.split('/').slice(0, -1).join('/')
  const body = { path: childOf(folder, answer.text) }
  await call('PATCH', urlOf('api/contents', entry.path), { body })
  await refresh()
  say(`Renamed to ${answer.text}.`)
}

async function remove(entry, refresh) {
  const folder = entry.type === 'directory'
  const answer = await ask({
    title: `Delete ${entry.name}?`,
    text: folder ? 'The folder and everything in it will be gone.' : 'It cannot be brought back.',
    choices: [{ value: 'delete', label: 'Delete', kind: 'danger' }],
  })
  if (!answer) return
  const query = folder ? '?recursive=1' : ''
  await call('DELETE', `${urlOf('api/contents', entry.path)}${query}`)
  await refresh()
  say(`Deleted ${entry.name}.`)
}

function acceptDrops(element, take) {
  const isFiles = (event) => event.dataTransfer?.types.includes('Files')
  element.addEventListener('dragover', (event) => {
    if (!isFiles(event)) return
    event.preventDefault()
    element.classList.add('dropping')
  })
  element.addEventListener('dragleave', (event) => {
    if (!element.contains(event.relatedTarget)) element.classList.remove('dropping')
  })
  element.addEventListener('drop', (event) => {
    if (!isFiles(event)) return
    event.preventDefault()
    element.classList.remove('dropping')
    const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file')
    const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory)
    if (files.length < items.length) say('Folders cannot be dropped; upload their files.', 'error')
    take(files.map((item) => item.getAsFile()))
  })
}
