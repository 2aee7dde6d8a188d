/** The login page: the insecure-connection warning, show/hide, and links that carry a secret. */

if (!window.isSecureContext) document.getElementById('insecure-login-warning').hidden = false

for (const button of document.querySelectorAll('.reveal')) {
  const input = document.getElementById(button.getAttribute('aria-controls'))
  const show = (shown) => {
    input.type = shown ? 'text' : 'password'
    button.setAttribute('aria-pressed', String(shown))
    button.textContent = shown ? 'Hide' : 'Show'
  }
  button.addEventListener('click', () => show(input.type === 'password'))
  // Sent as a password, so that the browser neither remembers nor suggests it as plain text.
  input.form.addEventListener('submit', () => show(false))
}

logInFromFragment()
addEventListener('hashchange', logInFromFragment)

/** Takes the secret out of the address (and the history) before it is used. */
function logInFromFragment() {
  const field = document.querySelector('[data-from-fragment]')
  const secret = location.hash.slice(1)
  if (!field || secret === '' || document.getElementById(secret)) return
  history.replaceState(history.state, '', location.pathname + location.search)
  field.value = secret
  document.getElementById('login_status').textContent = 'Logging you in.'
  // page.js comes first in document order, so the form already knows to be sent only once.
  field.form.requestSubmit()
}
