/**
 * For services and single-user servers: who is calling, and logging people in through the hub.
 *
 * With Express, or anything else that takes `(req, res, next)`:
 * ```ts
 * const auth = new HubAuth(hubAuthFromEnv(process.env))
 * const { hubRoutes, requireUser } = hubMiddleware(auth)
 * app.use(hubRoutes)
 * app.get(auth.config.servicePrefix, requireUser(), (req, res) => res.json(userOf(req)))
 * ```
 * Without a framework: `HubAuth` has `caller`, `allows`, `startLogin`, `finishLogin` and `logout`.
 */
export { hubAuthFromEnv, type HubAuthConfig } from './config.ts'
export { cookieValues, setCookie } from './cookies.ts'
export { type AuthRequest, type Caller, HubAuth, type Redirect } from './hub-auth.ts'
export { hubRequest } from './hub-request.ts'
export type { HubUser } from './hub-users.ts'
export {
  hubMiddleware,
  type HubMiddleware,
  type Middleware,
  type RequireOptions,
  userOf,
} from './middleware.ts'
