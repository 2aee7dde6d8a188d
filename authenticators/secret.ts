import { createHash, timingSafeEqual } from 'node:crypto'

/** Whether two secrets are the same; neither content nor length shows in the time taken. */
export function sameSecret(given: string, expected: string): boolean {
  const digest = (secret: string): Buffer => createHash('sha256').update(secret).digest()
  return timingSafeEqual(digest(given), digest(expected))
}
