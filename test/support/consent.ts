import type { Browser, Page } from './browser.ts'

/** Answers the form of a consent page as a person would: the redirect that follows. */
export function decide(browser: Browser, page: Page, action: 'authorize' | 'deny'): Promise<Page> {
  const fields = new URLSearchParams({ _xsrf: browser.cookie('_xsrf') ?? '', action })
  for (const [, scope = ''] of page.text.matchAll(/name="scopes" value="([^"]*)"/g))
    fields.append('scopes', scope)
  return browser.send('POST', page.url.pathname + page.url.search, {
    body: fields.toString(),
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
  })
}
