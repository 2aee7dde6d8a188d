import { closeSync, readFileSync, readdirSync } from 'node:fs'

/** Not in `fs.constants`: https://man7.org/linux/man-pages/man2/open.2.html. */
const O_CLOEXEC = 0o2000000
let isDone = false

/**
 * Closes what our program has inherited beyond stdin, stdout and stderr, so that no child gets it
 * either. Node and SQLite open everything close-on-exec; a descriptor without that mark came from
 * whoever started us. Node itself marks only the first few of those. Works once per program.
 */
export function closeInherited(): void {
  if (isDone || process.platform !== 'linux') return
  isDone = true
  for (const name of readdirSync('/proc/self/fd')) {
    const descriptor = Number(name)
    if (descriptor > 2 && isInherited(descriptor)) closeSync(descriptor)
  }
}

function isInherited(descriptor: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8')
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '', 8)
    return (flags & O_CLOEXEC) === 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
