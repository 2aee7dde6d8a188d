export { type Account, dropPrivileges, lookUpAccount, systemProgram } from './account.ts'
export { type ProcessIdentity, identityOf, isAlive, parseIdentity } from './identity.ts'
export { type Command, LaunchFailed, type LaunchOptions, launch } from './launch.ts'
export { rotateLog, tailFile } from './log-file.ts'
export { packageRoot, programPath } from './program.ts'
export {
  type Exited,
  type StopLadder,
  type SupervisedProcess,
  adopt,
  stopLadder,
} from './supervised-process.ts'
