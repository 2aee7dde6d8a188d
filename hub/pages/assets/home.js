import { askFirst, callApi, currentState, repeat, say } from './hub.js'

/** The home page: stops servers and keeps what it shows equal to what the hub says. */

const dialog = document.getElementById('confirm')
const cards = [...document.querySelectorAll('.server')]

for (const card of cards) {
  card.querySelector('[data-action=stop]').addEventListener('click', () => void stop(card))
  card.querySelector('[data-action=delete]')?.addEventListener('click', () => void remove(card))
  void repeat(
    () => refresh(card),
    () => (isPending(card) ? 1 : 15),
    (error) => say(regionOf(card, 'connection'), isPending(card) ? error.message : ''),
  )
}

async function stop(card) {
  const wasReady = card.dataset.state === 'ready'
  if (wasReady && !(await askFirst(dialog, 'stop', card.dataset.label))) return
  await act(card, async () => {
    show(card, 'stopping')
    await callApi('DELETE', card.dataset.api)
  })
}

async function remove(card) {
  if (!(await askFirst(dialog, 'delete', card.dataset.label))) return
  await act(card, async () => {
    await callApi('DELETE', card.dataset.api, { remove: true })
    card.remove()
    document.getElementById('main').focus()
  })
}

/** Runs one change; a failure is said on the card, and the card shows again what is true. */
async function act(card, change) {
  const failure = regionOf(card, 'failure')
  say(failure, '')
  card.dataset.acting = 'true'
  try {
    await change()
  } catch (error) {
    say(failure, error.message)
  } finally {
    delete card.dataset.acting
  }
  await follow(card)
}

/** Asks every second until nothing is pending; the slow loop goes on beside it. */
async function follow(card) {
  await repeat(
    async () => (await refresh(card)) && isPending(card),
    () => 1,
  )
}

/** False once the card is gone. */
async function refresh(card) {
  if (!card.isConnected) return false
  if (card.dataset.acting) return true
  const { state, url } = await currentState(card.dataset.api)
  if (card.dataset.acting) return true
  say(regionOf(card, 'connection'), '')
  if (url) card.querySelector('[data-action=start]').dataset.ready = url
  show(card, state)
  return true
}

function isPending(card) {
  return card.dataset.state === 'starting' || card.dataset.state === 'stopping'
}

function show(card, state) {
  if (card.dataset.state === state) return
  const hadFocus = card.querySelector('.actions').contains(document.activeElement)
  card.dataset.state = state
  const start = card.querySelector('[data-action=start]')
  start.href = start.dataset[state]
  if (hadFocus) start.focus()
}

function regionOf(card, name) {
  return card.querySelector(`[data-${name}]`)
}
