// What has to be there before anything of ours runs. Needs Node alone: no packages, no build.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const oldestNode = [20, 19]
const buildTools = ['g++', 'make', 'python3']
const sourceFolders = ['packages', 'hub', 'proxy', 'spawners', 'authenticators', 'migrations']
const buildInputs = ['tsconfig.json', 'tsconfig.build.json', 'package.json']

/** Ends the program with one clear line. */
export function fail(message) {
  console.error(message)
  process.exit(1)
}

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = oldestNode
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return
  fail(
    `Portico needs Node ${oldestNode.join('.')} or newer, and this is ${process.versions.node}: see https://nodejs.org`,
  )
}

export const isDebian = existsSync('/etc/debian_version')
const isRoot = process.geteuid?.() === 0

/** Those of `packages` that dpkg does not know as installed. */
export function missingDebianPackages(packages) {
  const query = ['-W', '-f', '${Package} ${db:Status-Abbrev}\n', ...packages]
  const { stdout } = spawnSync('dpkg-query', query, { encoding: 'utf8' })
  const installed = new Set(
    (stdout ?? '')
      .split('\n')
      .filter((line) => line.includes(' ii'))
      .map((line) => line.split(' ')[0]),
  )
  return packages.filter((name) => !installed.has(name))
}

/** Installs Debian packages, as root only. Returns those that are still missing. */
export function installDebianPackages(packages) {
  if (!isDebian) return packages
  const missing = missingDebianPackages(packages)
  if (missing.length === 0 || !isRoot) return missing
  console.log(`Installing ${missing.join(', ')} ...`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const wait = ['-q', '-o', 'DPkg::Lock::Timeout=600']
  quietly('apt-get', [...wait, 'update'], { env })
  quietly('apt-get', [...wait, 'install', '-y', '--no-install-recommends', ...missing], { env })
  return missingDebianPackages(missing)
}

/** Installs npm's packages when they are missing, older than the lock file or built for another Node. */
export function installPackages() {
  const installed = join(root, 'node_modules', '.package-lock.json')
  const builtFor = join(root, 'node_modules', '.node-modules-version')
  const abi = process.versions.modules
  const isCurrent =
    existsSync(installed) &&
    statSync(installed).mtimeMs >= statSync(join(root, 'package-lock.json')).mtimeMs &&
    (!existsSync(builtFor) || readFileSync(builtFor, 'utf8') === abi)
  if (isCurrent) return
  const tools = findBuildTools()
  console.log('Installing packages (a few minutes, this once) ...')
  if (!runNpm(['ci', '--include=dev', '--include=optional', '--no-progress', '--loglevel=error'])) {
    fail(
      tools.length === 0
        ? 'npm ci failed: see above'
        : `npm ci failed. Some packages are compiled here: install ${tools.join(', ')} and try again`,
    )
  }
  writeFileSync(builtFor, abi)
}

/** The tools for compiling that are still missing after an attempt to install them. */
function findBuildTools() {
  const missing = buildTools.filter((tool) => !isOnPath(tool))
  if (missing.length === 0) return []
  if (isDebian) return installDebianPackages(missing)
  return missing
}

function isOnPath(program) {
  const folders = (process.env.PATH ?? '').split(':')
  return folders.some((folder) => folder !== '' && existsSync(join(folder, program)))
}

/** Compiles to `dist` when a source, or the folder it was removed from, is newer than the last build. */
export function build() {
  const stamp = join(root, 'dist', '.built')
  const newest = Math.max(
    ...buildInputs.map((name) => statSync(join(root, name)).mtimeMs),
    ...sourceFolders.map((name) => newestIn(join(root, name))),
  )
  if (existsSync(stamp) && statSync(stamp).mtimeMs > newest) return
  console.log('Building ...')
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) fail('The build failed: see above')
  writeFileSync(stamp, '')
}

function newestIn(folder) {
  let newest = statSync(folder).mtimeMs
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'assets' || entry.name === 'views') continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) newest = Math.max(newest, newestIn(path))
    else if (entry.name.endsWith('.ts')) newest = Math.max(newest, statSync(path).mtimeMs)
  }
  return newest
}

/** npm as it runs us, else the one on the PATH. */
function runNpm(args) {
  const script = process.env.npm_execpath
  const [program, before] = script ? [process.execPath, [script]] : ['npm', []]
  const { status } = spawnSync(program, [...before, ...args], { cwd: root, stdio: 'inherit' })
  return status === 0
}

/** Shows the output of a command only when it fails. */
function quietly(program, args, options) {
  const { status, error, stdout, stderr } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  })
  if (status !== 0) console.error(error?.message ?? `${stdout}${stderr}`)
}
