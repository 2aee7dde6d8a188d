import { followAddress, go } from './address.js'
import { currentPath, urlOf } from './api.js'
import { say } from './dom.js'
import { showEditor } from './editor.js'
import { showFiles } from './files.js'
import { showTerminals } from './terminals.js'

const views = {
  tree: { show: showFiles, tab: 'files', name: 'Files' },
  edit: { show: showEditor, tab: 'files', name: 'Edit' },
  terminals: { show: showTerminals, tab: 'terminals', name: 'Terminal' },
}

const main = document.getElementById('view')
const { title, owner, viewer } = document.documentElement.dataset

function render() {
  const [area, ...rest] = currentPath().replace(/\/$/, '').split('/')
  const view = views[area] ?? views.tree
  document.title = `${view.name} · ${title}`
  for (const link of document.querySelectorAll('[data-view]')) {
    if (link.dataset.view === view.tab) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  main.className = `view-${area}`
  const element = document.createElement('div')
  element.className = 'view'
  main.replaceChildren(element)
  return view.show(rest.join('/'), element)
}

/** Plain clicks on our own page links stay in the page; everything else is the browser's. */
document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]')
  if (!link || event.button !== 0 || event.defaultPrevented || link.hasAttribute('download')) return
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const inside = Object.keys(views).some((area) => {
    const own = urlOf(area)
    return link.pathname === own || link.pathname.startsWith(`${own}/`)
  })
  if (!inside || link.origin !== location.origin || link.hash) return
  event.preventDefault()
  void go(link.href).then(() => main.focus({ preventScroll: true }))
})

if (viewer !== owner) say(`You are ${viewer}, working in the server of ${owner}.`)
followAddress(render)
