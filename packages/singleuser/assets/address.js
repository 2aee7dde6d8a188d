/** What the shown view gave back: `mayLeave` resolves with whether it may be left, `leave` frees it. */
let current = {}
let show = () => ({})
let shown = location.href
let wanted = 0

/**
 * Binds the address to views: `render()` shows what the address says and returns the view's
 * `{ mayLeave, leave }`, both optional.
 */
export function followAddress(render) {
  show = render
  window.addEventListener('popstate', () => void onBack())
  turn()
}

/** Goes to one of our pages, unless the present view wants to stay. */
export async function go(url) {
  if (current.mayLeave && !(await current.mayLeave())) return
  history.pushState(null, '', url)
  turn()
}

/** Changes the address without a new view. */
export function replaceAddress(url) {
  history.replaceState(null, '', url)
  shown = location.href
}

function turn() {
  shown = location.href
  current.leave?.()
  current = show() ?? {}
}

/** The address has changed already: a view that may not be left gets it back until it agrees. */
async function onBack() {
  const turnNumber = ++wanted
  const target = location.href
  if (!current.mayLeave) return turn()
  history.pushState(null, '', shown)
  const leaves = await current.mayLeave()
  if (!leaves || turnNumber !== wanted) return undefined
  history.replaceState(null, '', target)
  return turn()
}
