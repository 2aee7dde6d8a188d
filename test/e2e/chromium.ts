import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

const executablePath = '/usr/bin/chromium'
const screenshots = fileURLToPath(new URL('screenshots', import.meta.url))

/** For `it`: false, or why tests with a browser cannot run here. */
export const skipWithoutChromium = existsSync(executablePath)
  ? false
  : `${executablePath} is missing: apt install chromium`

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Milliseconds for every wait of a page. */
const patience = 30_000

const sizes = { wide: { width: 1180, height: 760 }, narrow: { width: 360, height: 740 } }

/** A headless Chromium with a profile of its own; each person gets a context of their own. */
export class Chromium implements AsyncDisposable {
  readonly #browser: Browser
  readonly #complaints: string[] = []

  private constructor(browser: Browser) {
    this.#browser = browser
  }

  /** `more` are further flags of the program. */
  static async launch(...more: readonly string[]): Promise<Chromium> {
    return new Chromium(await chromium.launch({ executablePath, args: [...flags, ...more] }))
  }

  /** The first page of somebody new. */
  async visitor(): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: sizes.wide,
      reducedMotion: 'reduce',
    })
    context.setDefaultTimeout(patience)
    this.#listen(context)
    return context.newPage()
  }

  /** Everything that pages have complained about so far: errors, warnings, policy violations. */
  assertNoComplaints(): void {
    assert.deepEqual(this.#complaints, [])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close()
  }

  #listen(context: BrowserContext): void {
    const opened = new Set<string>()
    context.on('response', (response) => {
      if (response.request().isNavigationRequest()) opened.add(response.url())
    })
    context.on('weberror', (error) => this.#complaints.push(String(error.error())))
    context.on('console', (message) => {
      const { url } = message.location()
      const text = message.text()
      // Chromium reports a page with an error status as a resource that did not load.
      if (opened.has(url) && text.startsWith('Failed to load resource')) return
      if (['error', 'warning'].includes(message.type())) this.#complaints.push(`${url}: ${text}`)
    })
  }
}

/** Pictures of the page in light, dark, and at the width of a phone, where nothing may stick out. */
export async function shoot(page: Page, name: string): Promise<void> {
  const save = (face: string) =>
    page.screenshot({ path: join(screenshots, `${name}-${face}.png`), fullPage: true })
  await save('light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await save('dark')
  await page.setViewportSize(sizes.narrow)
  await save('narrow-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await save('narrow')
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  assert.ok(width <= sizes.narrow.width, `${name} is ${width} px wide on a phone`)
  await page.setViewportSize(sizes.wide)
}

/** Presses Tab until the focus is there, as people without a mouse do; at most sixty times. */
export async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < 60; presses += 1) {
    const isThere = await page.evaluate(
      (wanted) => document.activeElement?.matches(wanted) ?? false,
      selector,
    )
    if (isThere) return
    await page.keyboard.press('Tab')
  }
  assert.fail(`Tab does not lead to ${selector} at ${page.url()}`)
}

/**
 * One part of a story as a test of its own; the story ends with the first that fails, and a picture
 * of what was on the screen is kept.
 */
export async function step(t: TestContext, page: Page, name: string, run: () => Promise<void>) {
  let failure: unknown = null
  await t.test(name, () =>
    run().catch(async (error: unknown) => {
      failure = error
      await page.screenshot({ path: join(screenshots, 'failure.png') })
      throw error
    }),
  )
  if (failure !== null) throw new Error(`the story ends at ${page.url()}`, { cause: failure })
}
