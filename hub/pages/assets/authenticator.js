/** Pages of authenticators: the insecure-connection warning, and codes that came in a link. */

const warning = document.getElementById('insecure-login-warning')
if (warning && !window.isSecureContext) warning.hidden = false

const field = document.querySelector('[data-from-fragment]')
const code = location.hash.slice(1)
if (field && code !== '' && !document.getElementById(code)) {
  // Out of the address and the history before it is used.
  history.replaceState(history.state, '', location.pathname + location.search)
  field.value = code
}
