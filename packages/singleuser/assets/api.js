const { prefix, xsrf, terminalproblem } = document.documentElement.dataset

/** Why there is no terminal; empty when there is. */
export const terminalProblem = terminalproblem

/** Our URL of a path below the server's prefix; names in `path` are encoded one by one. */
export function urlOf(area, path = '') {
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  return `${prefix}${area}${path === '' ? '' : `/${encoded}`}`
}

/** The part of the address below the prefix, decoded: `tree/notes/today.txt`. */
export function currentPath() {
  return decodeURIComponent(location.pathname.slice(prefix.length))
}

/** An answer that is not a success. `status` 0: no answer at all. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

/** Headers that prove a request to come from our own page. */
export const ownHeaders = { 'X-XSRFToken': xsrf }

/** One request with a JSON body and answer. Throws ApiError with a text fit for people. */
export async function call(method, url, { body, headers = {} } = {}) {
  const reply = await fetch(url, {
    method,
    headers: { ...ownHeaders, 'Content-Type': 'application/json', ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new ApiError(0, 'The server does not answer. It may have been stopped: see Hub home.')
  })
  const text = await reply.text()
  if (!reply.ok) throw errorFrom(reply.status, text)
  return text === '' ? null : JSON.parse(text)
}

/** The error that a failed answer stands for. */
export function errorFrom(status, text) {
  if (status === 0) return new ApiError(0, 'The connection was interrupted.')
  let message = ''
  try {
    message = JSON.parse(text).message ?? ''
  } catch {
    // A front end in between may answer with a page of its own.
  }
  if (status === 403 && message.startsWith('not logged in')) {
    return new ApiError(status, 'Your login has ended. Reload the page to log in again.')
  }
  const fallback = `The server answered ${status}.`
  return new ApiError(status, message ? message[0].toUpperCase() + message.slice(1) : fallback)
}
