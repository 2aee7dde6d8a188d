import { constants, openSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_RDWR, O_TRUNC, O_WRONLY } = constants
const tenMiB = 10 * 1024 * 1024

/** Opens a log for appending: created with mode 0600, never through a symbolic link. */
export function openLog(path: string): number {
  return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600)
}

/**
 * The last lines of a file, oldest first, without line ends: at most `lines`, taken from at most
 * the last `maxBytes` bytes. Empty when there is no such file. Not redacted.
 */
export async function tailFile(path: string, lines: number, maxBytes = 65_536): Promise<string[]> {
  const file = await openIfExists(path, constants.O_RDONLY | O_NOFOLLOW)
  if (!file || lines < 1) return []
  await using _ = file
  const { bytes, isWhole } = await readEnd(file, maxBytes)
  const found = bytes.toString('utf8').split(/\r?\n/)
  if (found.at(-1) === '') found.pop()
  if (!isWhole && found.length > 1) found.shift()
  return found.slice(-lines)
}

/**
 * Once a log is larger than `maxBytes`, keeps its last `maxBytes` bytes as `PATH.1` (mode 0600, in
 * place of an older one) and empties it. Its writers go on undisturbed; what they write between
 * the copy and the cut is lost. Nothing happens when there is no such file.
 */
export async function rotateLog(path: string, maxBytes = tenMiB): Promise<void> {
  const file = await openIfExists(path, O_RDWR | O_NOFOLLOW)
  if (!file) return
  await using _ = file
  if ((await file.stat()).size <= maxBytes) return
  const { bytes } = await readEnd(file, Math.max(maxBytes, tenMiB))
  await using old = await open(`${path}.1`, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  await old.writeFile(bytes)
  await file.truncate(0)
}

async function openIfExists(path: string, flags: number): Promise<FileHandle | null> {
  try {
    return await open(path, flags)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

async function readEnd(
  file: FileHandle,
  maxBytes: number,
): Promise<{ bytes: Buffer; isWhole: boolean }> {
  const { size } = await file.stat()
  const wanted = Math.min(size, maxBytes)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, size - wanted)
  return { bytes: buffer.subarray(0, bytesRead), isWhole: wanted === size }
}
