// npm start: installs and builds what is missing, then runs the hub in this very process.
// npm run portico -- COMMAND: the same for any command of `portico`.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, checkNode, installPackages, root } from './setup.mjs'

checkNode()
installPackages()
build()

const args = process.argv
  .slice(2)
  .filter((argument, index) => index > 0 || argument !== '--portico')
const program = join(root, 'dist', 'hub', 'main.js')
process.argv = [process.execPath, program, ...args]
await import(pathToFileURL(program).href)
