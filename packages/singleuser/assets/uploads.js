import { call, errorFrom, ownHeaders, urlOf } from './api.js'
import { ask, el, icon, say } from './dom.js'
import { childOf, sizeText } from './names.js'

/** Uploads files into a folder one after another, each with its progress in `list`. */
export async function uploadInto(folder, files, list, refresh) {
  let done = 0
  for (const file of files) {
    const item = progressItem(file)
    list.append(item.element)
    try {
      if (await uploadOne(folder, file, item)) done++
      item.element.remove()
      await refresh()
    } catch (error) {
      item.fail(error.message)
    }
  }
  if (done > 0) say(done === 1 ? 'Uploaded 1 file.' : `Uploaded ${done} files.`)
}

/** Resolves with false when the user keeps what is there, or cancels. */
async function uploadOne(folder, file, item) {
  let replace = false
  if (await exists(folder, file.name)) {
    const answer = await ask({
      title: `Replace ${file.name}?`,
      text: 'A file of that name is in this folder.',
      choices: [{ value: 'replace', label: 'Replace', kind: 'danger' }],
    })
    if (!answer) return false
    replace = true
  }
  return send(childOf(folder, file.name), file, item, replace ? {} : { 'If-None-Match': '*' })
}

/** Reads the folder: asking for a file that is not there would be an error on the browser's console. */
async function exists(folder, name) {
  const { content } = await call('GET', urlOf('api/contents', folder))
  return content.some((entry) => entry.name === name)
}

/** XMLHttpRequest, since fetch tells nothing of a request's progress. */
function send(path, file, item, headers) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('PUT', urlOf('files', path))
    for (const [name, value] of Object.entries({ ...ownHeaders, ...headers })) {
      request.setRequestHeader(name, value)
    }
    request.upload.addEventListener('progress', (event) => item.progress(event.loaded))
    request.addEventListener('load', () => {
      if (request.status < 300) resolve(true)
      else reject(errorFrom(request.status, request.responseText))
    })
    request.addEventListener('error', () => reject(errorFrom(0, '')))
    request.addEventListener('abort', () => resolve(false))
    item.onCancel(() => request.abort())
    request.send(file)
  })
}

function progressItem(file) {
  const bar = el('progress', { max: Math.max(file.size, 1), value: 0, 'aria-label': file.name })
  const text = el('span', { class: 'muted' }, `0 B of ${sizeText(file.size)}`)
  const cancel = el(
    'button',
    { class: 'quiet', 'aria-label': `Cancel ${file.name}` },
    icon('close'),
  )
  const element = el('li', {}, el('span', { class: 'name' }, file.name), bar, text, cancel)
  let abort = () => element.remove()
  cancel.addEventListener('click', () => abort())
  return {
    element,
    progress(loaded) {
      bar.value = loaded
      text.textContent = `${sizeText(loaded)} of ${sizeText(file.size)}`
    },
    onCancel(action) {
      abort = action
    },
    fail(message) {
      abort = () => element.remove()
      bar.remove()
      text.textContent = message
      text.className = 'problem'
      say(`${file.name}: ${message}`, 'error')
    },
  }
}
