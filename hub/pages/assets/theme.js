/**
 * Puts the chosen colours on <html> before the first paint; so this is a blocking classic script.
 * The key is JupyterHub's, so that its pages and ours on one origin agree. No entry means `auto`:
 * what the system says.
 */
;(() => {
  const key = 'jupyterhub-bs-theme'
  const root = document.documentElement
  root.classList.add('js')

  const stored = () => {
    try {
      const value = localStorage.getItem(key)
      return value === 'light' || value === 'dark' ? value : 'auto'
    } catch {
      return 'auto'
    }
  }

  const store = (choice) => {
    try {
      if (choice === 'auto') localStorage.removeItem(key)
      else localStorage.setItem(key, choice)
    } catch {
      // Storage is off: the choice holds for this page only.
    }
  }

  const system = matchMedia('(prefers-color-scheme: dark)')
  let choice = stored()

  const show = () => {
    const theme = choice === 'auto' ? (system.matches ? 'dark' : 'light') : choice
    root.dataset.theme = theme
    root.dataset.bsTheme = theme
    for (const radio of document.querySelectorAll('#theme input')) {
      radio.checked = radio.value === choice
    }
  }

  show()
  system.addEventListener('change', show)
  addEventListener('storage', (event) => {
    if (event.key !== key && event.key !== null) return
    choice = stored()
    show()
  })
  addEventListener('DOMContentLoaded', () => {
    show()
    document.querySelector('#theme')?.addEventListener('change', (event) => {
      choice = event.target.value
      store(choice)
      show()
    })
  })
})()
