import { Router } from 'express'
import { HubError } from '../packages/core/errors.ts'

/** A router to which a trailing slash and the case of letters matter, as on JupyterHub (wire section 1.1). */
export function strictRouter(): Router {
  return Router({ strict: true, caseSensitive: true })
}

/** These routers in order, and after them 405 for any other method on a path that one of them knows. */
export function strictRouters(...routers: readonly Router[]): Router {
  const all = strictRouter()
  all.use(...routers)
  const paths = routers.flatMap(({ stack }) => stack.flatMap(({ route }) => route?.path ?? []))
  all.all([...new Set(paths)], (req) => {
    throw new HubError('method_not_allowed', `${req.method} is not allowed here`)
  })
  return all
}
