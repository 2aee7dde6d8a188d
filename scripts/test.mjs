// npm test [-- PATH...]: installs what the tests need, builds, and runs all test files or those
// whose path contains one of the given words.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import {
  build,
  checkNode,
  fail,
  installDebianPackages,
  installPackages,
  isDebian,
  root,
} from './setup.mjs'

const debianPackages = [
  'jupyterhub',
  'jupyter-notebook',
  'python3-ipykernel',
  'chromium',
  'openssl',
  'curl',
  'krb5-admin-server',
  'krb5-kdc',
  'krb5-user',
  'libpam-google-authenticator',
  'oathtool',
  'util-linux',
  'slapd',
]
const concurrency = 2
/** Milliseconds that one file may take. */
const fileLimit = 240_000
const running = new Set()

checkNode()
installPackages()
const missing = installDebianPackages(debianPackages)
if (isDebian && missing.length > 0) {
  console.log(`Not installed, so that some tests are skipped: ${missing.join(', ')}`)
}
build()

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of running) killGroup(child, 'SIGKILL')
    process.exit(1)
  })
}

const files = testFiles(process.argv.slice(2))
if (files.length === 0) fail('No test file has such a path')
const folder = mkdtempSync(join(tmpdir(), 'portico-test-'))
const results = await runAll(files)
rmSync(folder, { recursive: true, force: true })
process.exitCode = summarise(results)

function testFiles(words) {
  const all = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  return all
    .map((name) => join('test', name))
    .filter((path) => path.endsWith('.test.ts') && !path.startsWith(join('test', 'bench')))
    .filter((path) => words.length === 0 || words.some((word) => path.includes(relativeTo(word))))
    .sort()
}

function relativeTo(word) {
  return word.startsWith(root) ? relative(root, word) : word.replace(/^\.\//, '')
}

async function runAll(queue) {
  const rest = [...queue]
  const done = []
  const worker = async () => {
    for (let file = rest.shift(); file !== undefined; file = rest.shift()) {
      const result = await runFile(file)
      done.push(result)
      printResult(result)
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return done
}

/** Runs one file in a process group of its own, so that nothing of it outlives its time. */
async function runFile(file) {
  const started = performance.now()
  const report = join(folder, file.replaceAll(/[^\w.]/g, '-'))
  const child = spawn(
    process.execPath,
    [
      '--conditions=source',
      '--import=tsx',
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      '--test-reporter=tap',
      `--test-reporter-destination=${report}`,
      file,
    ],
    { cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => (output += text))
  }
  let late = false
  const timer = setTimeout(() => {
    late = true
    killGroup(child, 'SIGKILL')
  }, fileLimit)
  const status = await new Promise((resolve) => child.once('exit', resolve))
  clearTimeout(timer)
  running.delete(child)
  const seconds = (performance.now() - started) / 1000
  return { file, seconds, output, late, status, ...readCounts(report) }
}

function killGroup(child, signal) {
  try {
    process.kill(-child.pid, signal)
  } catch {
    // It has ended by itself.
  }
}

/** The totals at the end of a TAP report, and why tests were skipped. */
function readCounts(path) {
  const report = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const total = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(report)?.[1] ?? 0)
  const reasons = [...report.matchAll(/^\s*ok \d+ - (.+) # (?:SKIP|TODO) ?(.*)$/gm)].map(
    ([, name, reason]) => (reason ? `${name}: ${reason}` : name),
  )
  return {
    passed: total('pass'),
    failed: total('fail') + total('cancelled'),
    skipped: total('skipped') + total('todo'),
    reasons,
  }
}

function isGood({ status, late, passed, failed, skipped }) {
  return status === 0 && !late && failed === 0 && passed + skipped > 0
}

function printResult(result) {
  const { file, seconds, passed, failed, skipped, reasons, output, late } = result
  const good = isGood(result)
  console.log(`${good ? 'ok' : 'FAILED'}  ${file}  ${passed} passed  ${seconds.toFixed(1)} s`)
  for (const line of reasons) console.log(`      skipped: ${line}`)
  if (good) return
  console.log(output)
  if (late) console.log(`      ended after ${fileLimit / 1000} s`)
  else if (passed + failed + skipped === 0) console.log('      ran no test')
}

function summarise(all) {
  const total = (count) => all.reduce((sum, result) => sum + count(result), 0)
  const passed = total((result) => result.passed)
  const skipped = total((result) => result.skipped)
  const bad = all.filter((result) => !isGood(result))
  const failed = total((result) => result.failed || (isGood(result) ? 0 : 1))
  const slowest = all.toSorted((left, right) => right.seconds - left.seconds).slice(0, 10)
  console.log('\nSlowest files:')
  for (const { file, seconds } of slowest)
    console.log(`  ${seconds.toFixed(1).padStart(6)} s  ${file}`)
  if (bad.length > 0) console.log(`\nFailed: ${bad.map(({ file }) => file).join(' ')}`)
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`)
  return bad.length > 0 || passed === 0 ? 1 : 0
}
