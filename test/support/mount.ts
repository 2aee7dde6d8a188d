import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/** A small file system on a folder until it is disposed of; null where this account cannot mount. */
export function mountSmall(folder: string, mebibytes: number): Disposable | null {
  const options = `size=${mebibytes}m,mode=0700`
  return mounted(folder, ['-t', 'tmpfs', '-o', options, 'none', folder])
}

/** The same folder, read-only until it is disposed of; null where this account cannot mount. */
export function mountReadOnly(folder: string): Disposable | null {
  const bound = mounted(folder, ['--bind', folder, folder])
  if (bound && !run('mount', ['-o', 'remount,bind,ro', folder, folder])) {
    bound[Symbol.dispose]()
    return null
  }
  return bound
}

/** Writes into `file` until its file system is full. */
export function fill(file: string): void {
  try {
    writeFileSync(file, Buffer.alloc(64 * 1024 * 1024))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}

function mounted(folder: string, args: readonly string[]): Disposable | null {
  if (!run('mount', args)) return null
  return { [Symbol.dispose]: () => void run('umount', ['-l', folder]) }
}

function run(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
