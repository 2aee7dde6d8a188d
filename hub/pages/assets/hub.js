/** What every page script needs: the REST API and the state of a server. */

const xsrf = document.body.dataset.xsrf ?? ''

/**
 * Calls the REST API as the logged-in user. Resolves with the status and the parsed body (null
 * when there is none); rejects with the API's own message, or one that says that the hub is away.
 */
export async function callApi(method, url, body) {
  const response = await fetch(url, {
    method,
    headers: {
      Accept: 'application/json',
      'X-XSRFToken': xsrf,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  }).catch(() => {
    throw new Error('The hub does not answer. Check the connection; this page keeps trying.')
  })
  const reply = await response.json().catch(() => null)
  if (response.ok) return { status: response.status, body: reply }
  const error = new Error(reply?.message ?? `The hub answered ${response.status}.`)
  error.status = response.status
  throw error
}

/** Puts `text` into a live region, unless it stands there: saying it twice is noise. */
export function say(region, text) {
  if (region.textContent !== text) region.textContent = text
}

/**
 * Whether the reader agrees, asked in a modal dialog about what `label` names; Escape is no. The
 * dialog shows those of its texts that are marked for `action`. The browser gives the focus back.
 */
export function askFirst(dialog, action, label) {
  dialog.dataset.action = action
  dialog.returnValue = 'cancel'
  document.getElementById('confirm-label').textContent = label
  for (const text of dialog.querySelectorAll('[data-for]'))
    text.hidden = text.dataset.for !== action
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'confirm'), {
      once: true,
    })
  })
}

/** The state of a server from its REST model: stopped, starting, ready or stopping. */
export function stateOf(model) {
  if (model.pending === 'stop') return 'stopping'
  if (model.pending) return 'starting'
  return model.ready ? 'ready' : 'stopped'
}

/** The state now; a server that the hub does not know is stopped. Rejects like `callApi`. */
export async function currentState(apiUrl) {
  try {
    const { body } = await callApi('GET', apiUrl)
    return { state: stateOf(body), url: body.url }
  } catch (error) {
    if (error.status === 404) return { state: 'stopped', url: null }
    throw error
  }
}

/** An event stream of the API: EventSource cannot send headers, so the token goes into the query. */
export function openEvents(url) {
  return new EventSource(`${url}?_xsrf=${encodeURIComponent(xsrf)}`)
}

/** Leaves for `url`, with this page's fragment unless it has one; only to http(s). */
export function leaveFor(url) {
  const target = new URL(url, location.href)
  if (target.protocol !== 'https:' && target.protocol !== 'http:') return
  if (target.hash === '') target.hash = location.hash
  location.replace(target)
}

/**
 * Runs `step` now and then every `seconds()` after the last run ended, while it resolves to true.
 * A rejection is reported to `failed` and does not end it. Rests while the page is hidden.
 */
export async function repeat(step, seconds, failed = () => undefined) {
  for (;;) {
    try {
      if (!(await step())) return
    } catch (error) {
      failed(error)
    }
    await pause(seconds() * 1000)
    await visible()
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

function visible() {
  if (!document.hidden) return Promise.resolve()
  return new Promise((resolve) =>
    document.addEventListener('visibilitychange', resolve, { once: true }),
  )
}
