import express from 'express'
import { HubAuth, hubAuthFromEnv, hubMiddleware, userOf } from 'portico/hub-auth'

// The hub sets all of these when it starts a service.
const auth = new HubAuth(hubAuthFromEnv(process.env))
const { hubRoutes, requireUser } = hubMiddleware(auth)
const { servicePrefix } = auth.config

const app = express()
app.use(hubRoutes)
app.get(servicePrefix, requireUser(), (req, res) => res.json(userOf(req)))
app.get(`${servicePrefix}servers`, requireUser({ scopes: ['read:servers'] }), (_req, res) => {
  res.json("You may look at everybody's servers.")
})

const { hostname, port } = new URL(
  process.env['JUPYTERHUB_SERVICE_URL'] ?? 'http://127.0.0.1:10101',
)
app.listen(Number(port), hostname)
