import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with our package.json: the same from source and from `dist`. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!isOurs(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('the package.json of portico is missing')
    folder = parent
  }
  return folder
}

/** The command that runs one of our built programs, such as `proxy/main`. */
export function programPath(name: string): [file: string, script: string] {
  return [process.execPath, join(packageRoot(), 'dist', `${name}.js`)]
}

function isOurs(file: string): boolean {
  if (!existsSync(file)) return false
  const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string }
  return name === 'portico'
}
