/** What every page does: history, times, forms that are sent once, copy buttons, the focus on arrival. */

// A page that answered a form is visited again as any other: no question about sending it twice.
history.replaceState(history.state, '')

showMoments()
setInterval(showMoments, 30_000)
// What a page's own script has put in.
document.addEventListener('moments', showMoments)

for (const time of document.querySelectorAll('time[data-clock]')) {
  time.textContent = new Date(time.dateTime).toLocaleTimeString()
}

for (const form of document.querySelectorAll('form[data-busy]')) {
  form.addEventListener('submit', (event) => sendOnce(event, form))
}

// The back button may bring a page back as it was left: half-way through a submit.
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-busy]')) setBusy(form, null)
})

for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', () => void copy(button))
}

for (const link of document.querySelectorAll('a[data-keep-hash]')) {
  if (location.hash !== '#main' && !link.hash) link.hash = location.hash
}

document.querySelector('[data-focus]')?.focus()

/** "22 Nov 2026, 01:06 (3 minutes ago)", in the reader's time zone and the page's language. */
function showMoments() {
  const language = document.documentElement.lang
  const exact = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' })
  const relative = new Intl.RelativeTimeFormat(language, { numeric: 'auto' })
  for (const time of document.querySelectorAll('time[data-moment]')) {
    const date = new Date(time.dateTime)
    if (Number.isNaN(date.getTime())) continue
    time.textContent = `${exact.format(date)} (${ago(relative, date)})`
  }
}

function ago(relative, date) {
  const seconds = (date.getTime() - serverNow()) / 1000
  const units = [
    ['day', 86_400],
    ['hour', 3600],
    ['minute', 60],
  ]
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1]
  if (unit === 'second') return relative.format(0, 'minute')
  return relative.format(Math.round(seconds / size), unit)
}

/** The hub's clock, since this computer's may be wrong. Milliseconds. */
function serverNow() {
  return Date.parse(document.body.dataset.now) + performance.now()
}

/** Lets the first submit through and swallows the rest. */
function sendOnce(event, form) {
  if (form.dataset.busy === 'true') event.preventDefault()
  else setBusy(form, event.submitter ?? form.querySelector('[type=submit]'))
}

/** `aria-disabled` rather than `disabled`: a disabled button's name and value are not sent. */
function setBusy(form, submitter) {
  form.dataset.busy = submitter ? 'true' : 'false'
  for (const button of form.querySelectorAll('[type=submit]')) {
    button.toggleAttribute('data-working', button === submitter)
    if (submitter) button.setAttribute('aria-disabled', 'true')
    else button.removeAttribute('aria-disabled')
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy)
  const label = button.querySelector('span')
  const done = await write(source)
  label.textContent = done ? 'Copied' : 'Press Ctrl+C'
  document.getElementById('copy-status').textContent = done
    ? 'Copied to the clipboard.'
    : 'The text is selected: press Ctrl+C.'
  setTimeout(() => (label.textContent = 'Copy'), 4000)
}

/** The clipboard exists only on https and localhost; elsewhere the text is selected for the reader. */
async function write(source) {
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent)
    return true
  } catch {
    source.focus()
    if (source.select) source.select()
    else getSelection().selectAllChildren(source)
    return document.execCommand('copy')
  }
}
