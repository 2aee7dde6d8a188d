import { currentState, repeat, say } from './hub.js'

/** Waits for the end of a server; then the hub decides what this address shows next. */

const { api } = document.getElementById('pending').dataset

void repeat(
  async () => {
    const { state } = await currentState(api)
    if (state === 'stopping') return true
    location.reload()
    return false
  },
  () => 2,
  (error) => say(document.getElementById('connection'), error.message),
)
