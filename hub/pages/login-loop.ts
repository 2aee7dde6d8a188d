import type { Request, Response } from 'express'
import { contextOf } from '../request.ts'
import type { Pages } from './page.ts'

/** Every login succeeds and none is there afterwards: going on would go round for ever. */
export async function showLoop(pages: Pages, req: Request, res: Response): Promise<void> {
  const context = contextOf(req)
  const { protocol, host } = context
  const isSent = ['jupyterhub-hub-login', '__Host-jupyterhub-hub-login'].some(
    (name) => context.cookies(name).length > 0,
  )
  const message = isSent
    ? 'You have logged in several times within a minute, and the login cookie that this browser sends is not accepted. Another hub on the same host may have set it, or the hub has changed its cookie secret.'
    : `You have logged in several times within a minute, and this browser does not send the login cookie back. It may block cookies, or refuse one that is for ${protocol}://${host} only.`
  const hint = `Delete the cookies of ${host} and log in again. If it goes on, an administrator should compare hub.publicUrl with the address you use, and look at whether another hub runs on this host.`
  const data = { status: 400, statusText: 'The login goes round in circles', message, hint }
  await pages.show(req, res, 'error', data, 400)
}
