import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** Takes what a socket has read. A piece is overwritten after the call: copy what is kept. */
export type Take = (piece: Buffer) => void

/** The option `onread` of `connect`. */
export interface Reading {
  readonly buffer: Buffer
  readonly callback: (length: number) => boolean
}

/**
 * All plain sockets read into this one: each read is done with before the next one begins. Large,
 * since fewer reads cost less.
 */
const buffer = Buffer.allocUnsafeSlow(256 * 1024)

/** For `connect`: what the socket reads goes to `take`, and costs no memory. It has no `data` events. */
export function readInto(take: Take): Reading {
  const callback = (length: number): boolean => {
    take(buffer.subarray(0, length))
    return true
  }
  return { buffer, callback }
}

/**
 * The same for a socket that is open and has no `data` listeners. `take` is called at once with what
 * the socket holds. Sockets that a server has accepted cannot be given `onread`, so they get what it
 * leaves on those that can; TLS, and a Node that keeps it elsewhere, have `data` events.
 */
export function readFrom(socket: Duplex, take: Take): void {
  if (socket.readableLength > 0) takeHeld(socket, take)
  const handle = handleOf(socket)
  if (!handle || !keys) return void socket.on('data', take)
  const { callback } = readInto(take)
  Reflect.set(socket, keys.buffer, buffer)
  Reflect.set(socket, keys.callback, callback)
  handle.useUserBuffer(buffer)
}

function takeHeld(socket: Duplex, take: Take): void {
  for (let held: unknown; (held = socket.read()) instanceof Buffer;) take(held)
}

interface Handle {
  useUserBuffer(buffer: Buffer): void
}

function handleOf(socket: Duplex): Handle | null {
  if (!(socket instanceof Socket) || socket instanceof TLSSocket) return null
  const { _handle: handle } = socket as Socket & { readonly _handle?: Partial<Handle> | null }
  return handle && typeof handle.useUserBuffer === 'function' ? (handle as Handle) : null
}

/** The names by which a socket keeps its `onread`, or null. */
const keys = ((): { readonly buffer: PropertyKey; readonly callback: PropertyKey } | null => {
  const onread = readInto(() => {})
  const options: object = { onread }
  const socket = new Socket(options)
  const keyOf = (value: unknown) =>
    Reflect.ownKeys(socket).find((key) => Reflect.get(socket, key) === value)
  const bufferKey = keyOf(onread.buffer)
  const callbackKey = keyOf(onread.callback)
  if (bufferKey === undefined || callbackKey === undefined) return null
  return { buffer: bufferKey, callback: callbackKey }
})()
