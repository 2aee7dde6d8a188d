import { askFirst, callApi, say } from './hub.js'

/** The token page: makes and revokes tokens through the REST API, and keeps its lists true. */

const form = document.getElementById('token-form')
const box = document.getElementById('new-token')
const secret = document.getElementById('token-secret')
const button = document.getElementById('token-create')

form?.addEventListener('submit', (event) => {
  event.preventDefault()
  if (!button.hasAttribute('data-working')) void create()
})

document.addEventListener('click', (event) => {
  const row = event.target.closest('[data-revoke]')?.closest('[data-id]')
  if (row) void revoke(row)
})

// Neither going back nor a reload shows the secret again.
addEventListener('pagehide', () => showSecret(''))

async function create() {
  setWorking(true)
  showSecret('')
  say(region('token-error'), '')
  try {
    const { body } = await callApi('POST', form.dataset.api, wanted())
    form.reset()
    showSecret(body.token)
    say(region('token-status'), 'The token is made. Copy it now: it is not shown again.')
    secret.focus()
    secret.select()
    if (!(await refresh()))
      say(region('token-error'), 'The list below could not be brought up to date. The token works.')
  } catch (error) {
    say(region('token-error'), explain(error))
  }
  setWorking(false)
}

function wanted() {
  const fields = new FormData(form)
  const note = fields.get('note').trim() || 'Requested via token page'
  const seconds = fields.get('expires_in')
  const typed = fields.get('scopes').split(/[\s,]+/)
  const scopes = [...fields.getAll('scope'), ...typed].filter((scope) => scope !== '')
  const body = { note, expires_in: seconds === '' ? null : Number(seconds) }
  return scopes.length === 0 ? body : { ...body, scopes }
}

function showSecret(text) {
  if (!box) return
  secret.value = text
  box.hidden = text === ''
}

async function revoke(row) {
  const { id, kind, label } = row.dataset
  say(region('revoke-error'), '')
  if (!(await askFirst(document.getElementById('confirm'), kind, label))) return
  try {
    await callApi('DELETE', `${form.dataset.api}/${id}`).catch((error) => {
      // Somebody else was faster, or it has expired.
      if (error.status !== 404) throw error
    })
    const heading = row.closest('section').querySelector('h2').id
    if (!(await refresh())) return location.reload()
    const target = document.getElementById(heading) ?? document.getElementById('tokens-title')
    target.focus()
    say(region('token-status'), `${label} is revoked.`)
  } catch (error) {
    say(region('revoke-error'), explain(error))
  }
}

/** Takes the lists anew from this page as the hub shows it now; false when it does not. */
async function refresh() {
  const lists = (await load())?.getElementById('token-lists')
  if (!lists) return false
  document.getElementById('token-lists').replaceWith(document.adoptNode(lists))
  document.dispatchEvent(new Event('moments'))
  return true
}

/** The page as a document, parsed but not run; null when it cannot be had. */
function load() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest()
    request.open('GET', location.pathname)
    request.responseType = 'document'
    request.timeout = 30_000
    request.addEventListener('loadend', () => resolve(request.response))
    request.send()
  })
}

function explain({ status, message }) {
  if (!status) return 'The hub does not answer. Check the connection and try again.'
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1).replace(/\.$/, '')}.`
  return status === 403 ? `${text} Reload this page and try again.` : text
}

function setWorking(isWorking) {
  button.toggleAttribute('data-working', isWorking)
  button.setAttribute('aria-disabled', String(isWorking))
}

function region(id) {
  return document.getElementById(id)
}
