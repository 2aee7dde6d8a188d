import { callApi, currentState, leaveFor, openEvents, repeat, say } from './hub.js'

/**
 * The waiting page: progress over server-sent events, and beside them a slow poll, which becomes
 * a quick one when the events die (a proxy that buffers, a hub that restarts).
 */

const page = document.getElementById('pending')
const { api, progressUrl, next, started } = page.dataset
const log = document.getElementById('progress-log')
const bar = document.getElementById('progress-bar')
const stopStatus = document.getElementById('stop-status')
const connection = document.getElementById('connection')
const stopButton = document.getElementById('stop')
const waitedBefore = Math.max(0, Date.parse(document.body.dataset.now) - Date.parse(started)) || 0

/** What the log held before this connection: the stream tells everything again from the start. */
let known = new Map()
let eventsAlive = false
let failures = 0
let leaving = false

stopButton.addEventListener('click', () => void stop())
setInterval(showElapsed, 1000)
showElapsed()
listen()
void repeat(
  poll,
  () => (eventsAlive ? 5 : 2),
  (error) => say(connection, error.message),
)

function listen() {
  const events = openEvents(progressUrl)
  events.addEventListener('open', () => {
    eventsAlive = true
    failures = 0
    known = countLines()
  })
  events.addEventListener('message', ({ data }) => receive(JSON.parse(data), events))
  events.addEventListener('error', () => {
    eventsAlive = false
    failures += 1
    if (failures >= 5) events.close()
  })
}

function receive(event, events) {
  showProgress(event)
  if (!event.ready && !event.failed) return
  events.close()
  if (event.ready) arrive(event.url)
  else fail()
}

/** True while there is something to wait for. */
async function poll() {
  const { state, url } = await currentState(api)
  say(connection, '')
  if (leaving) return false
  if (state === 'ready') arrive(url)
  else if (state === 'stopped') fail()
  return !leaving
}

function arrive(url) {
  if (leaving) return
  leaving = true
  page.dataset.state = 'ready'
  showProgress({ progress: 100, message: 'Server ready, opening it' })
  leaveFor(next || url)
}

/** The hub tells the whole story on this page's own address once the start is over. */
function fail() {
  if (leaving) return
  leaving = true
  location.reload()
}

async function stop() {
  if (stopButton.hasAttribute('data-working')) return
  setStopping(true)
  try {
    await callApi('DELETE', api)
  } catch (error) {
    setStopping(false)
    say(stopStatus, error.message)
  }
}

function setStopping(stopping) {
  stopButton.toggleAttribute('data-working', stopping)
  stopButton.setAttribute('aria-disabled', String(stopping))
  say(stopStatus, '')
  if (stopping) addLine('Stop requested')
}

function showProgress({ progress, message }) {
  if (Number.isFinite(progress)) {
    bar.value = Math.max(bar.value, progress)
    document.getElementById('progress-percent').textContent = `${Math.round(bar.value)} %`
  }
  if (!message || wasKnown(message)) return
  document.getElementById('progress-message').textContent = message
  addLine(message)
}

function addLine(message) {
  const item = document.createElement('li')
  const time = document.createElement('time')
  const text = document.createElement('span')
  const now = new Date()
  time.dateTime = now.toISOString()
  time.textContent = now.toLocaleTimeString()
  text.textContent = message
  item.append(time, text)
  log.append(item)
  log.parentElement.scrollTop = log.parentElement.scrollHeight
}

function countLines() {
  const lines = new Map()
  for (const { textContent } of log.querySelectorAll('span')) {
    lines.set(textContent, (lines.get(textContent) ?? 0) + 1)
  }
  return lines
}

function wasKnown(message) {
  const times = known.get(message) ?? 0
  known.set(message, times - 1)
  return times > 0
}

function showElapsed() {
  const seconds = Math.floor((waitedBefore + performance.now()) / 1000)
  const rest = String(seconds % 60).padStart(2, '0')
  document.getElementById('elapsed').textContent = `${Math.floor(seconds / 60)}:${rest}`
}
