// npm run bench [-- SUBJECT... FLAGS]: builds what is missing and runs test/bench; see --help.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { build, checkNode, installPackages, root } from './setup.mjs'

checkNode()
installPackages()
build()

const flags = ['--conditions=source', '--import=tsx', join(root, 'test', 'bench', 'main.ts')]
const child = spawn(process.execPath, [...flags, ...process.argv.slice(2)], { stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.once('exit', (code) => {
  process.exitCode = code ?? 1
})
