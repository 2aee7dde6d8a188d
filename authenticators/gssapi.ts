import koffi from 'koffi'

/** One ticket to check. */
export interface TicketRequest {
  /** What the browser sent after `Negotiate`, decoded. */
  readonly token: Uint8Array
}

export type TicketReply =
  | {
      readonly kind: 'accepted'
      /** As Kerberos spells it: `zoe@EXAMPLE.ORG`. */
      readonly principal: string
      /** Proves this hub to the browser; empty when there is nothing to prove. */
      readonly answer: Uint8Array
    }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'failed'; readonly message: string }

/** RFC 2744. */
const complete = 0
const accept = 2
const statusOf = { routine: 1, mechanism: 2 }

const gss = koffi.load('libgssapi_krb5.so.2')

koffi.struct('gss_buffer', { length: 'size_t', value: 'void *' })
const oid = koffi.struct('gss_oid', { length: 'uint32', elements: 'void *' })

interface GssBuffer {
  length: number
  value: bigint | null
}
type Out = [bigint | null]
type Status = [number]

const acquire: (...args: [Status, null, number, null, number, Out, null, null]) => number =
  gss.func(
    'uint32 gss_acquire_cred(_Out_ uint32 *minor, void *name, uint32 time, void *mechs, int usage, _Out_ void **cred, void *actual, void *rest)',
  )
const acceptContext: (
  ...args: [Status, Out, bigint, object, null, Out, Out, GssBuffer, Status, null, null]
) => number = gss.func(
  'uint32 gss_accept_sec_context(_Out_ uint32 *minor, _Inout_ void **context, void *cred, gss_buffer *token, void *bindings, _Out_ void **name, _Out_ void **mech, _Out_ gss_buffer *answer, _Out_ uint32 *flags, void *time, void *delegated)',
)
const displayName: (...args: [Status, bigint, GssBuffer, null]) => number = gss.func(
  'uint32 gss_display_name(_Out_ uint32 *minor, void *name, _Out_ gss_buffer *text, void *type)',
)
const displayStatus: (...args: [Status, number, number, null, Status, GssBuffer]) => number =
  gss.func(
    'uint32 gss_display_status(_Out_ uint32 *minor, uint32 status, int type, void *mech, _Inout_ uint32 *context, _Out_ gss_buffer *text)',
  )
const releaseBuffer: (...args: [Status, GssBuffer]) => number = gss.func(
  'uint32 gss_release_buffer(_Out_ uint32 *minor, _Inout_ gss_buffer *buffer)',
)
const releaseName: (...args: [Status, Out]) => number = gss.func(
  'uint32 gss_release_name(_Out_ uint32 *minor, _Inout_ void **name)',
)
const releaseCred: (...args: [Status, Out]) => number = gss.func(
  'uint32 gss_release_cred(_Out_ uint32 *minor, _Inout_ void **cred)',
)
const deleteContext: (...args: [Status, Out, null]) => number = gss.func(
  'uint32 gss_delete_sec_context(_Out_ uint32 *minor, _Inout_ void **context, void *token)',
)

/** 1.2.840.113554.1.2.2, without tag and length. */
const kerberos = Buffer.from('2a864886f712010202', 'hex')

/**
 * Checks a SPNEGO or Kerberos token (RFC 4178, RFC 4121) with the keys of the keytab that
 * `KRB5_KTNAME` names. One step only; a token that was seen before is refused by the library.
 */
export function checkTicket({ token }: TicketRequest): TicketReply {
  const minor: Status = [0]
  const cred: Out = [null]
  const context: Out = [null]
  const name: Out = [null]
  try {
    const acquired = acquire(minor, null, 0, null, accept, cred, null, null)
    if (acquired !== complete || cred[0] === null)
      return { kind: 'failed', message: `the keytab cannot be used: ${textOf(acquired, minor[0])}` }
    const mech: Out = [null]
    const answer = emptyBuffer()
    const status = acceptContext(
      minor,
      context,
      cred[0],
      { length: token.length, value: token },
      null,
      name,
      mech,
      answer,
      [0],
      null,
      null,
    )
    const bytes = take(answer)
    if (status !== complete || name[0] === null)
      return { kind: 'refused', reason: textOf(status, minor[0]) }
    if (mech[0] === null || !isKerberos(mech[0]))
      return { kind: 'refused', reason: 'it is no ticket of Kerberos' }
    const text = emptyBuffer()
    displayName(minor, name[0], text, null)
    return { kind: 'accepted', principal: take(text).toString('utf8'), answer: bytes }
  } finally {
    if (context[0] !== null) deleteContext(minor, context, null)
    if (name[0] !== null) releaseName(minor, name)
    if (cred[0] !== null) releaseCred(minor, cred)
  }
}

function isKerberos(mech: bigint): boolean {
  const { length, elements } = koffi.decode(mech, oid) as { length: number; elements: bigint }
  return kerberos.equals(Buffer.from(koffi.decode(elements, 'uint8', length) as Uint8Array))
}

function emptyBuffer(): GssBuffer {
  return { length: 0, value: null }
}

/** Its bytes; the library's own are freed. */
function take(given: GssBuffer): Buffer {
  if (given.value === null) return Buffer.alloc(0)
  const length = Number(given.length)
  const bytes = Buffer.from(koffi.decode(given.value, 'uint8', length) as Uint8Array)
  releaseBuffer([0], given)
  return bytes
}

/** Of the routine's status and the mechanism's. */
function textOf(major: number, minor: number): string {
  const text = (status: number, type: number): string => {
    const message = emptyBuffer()
    displayStatus([0], status, type, null, [0], message)
    return take(message).toString('utf8')
  }
  return [
    text(major, statusOf.routine),
    ...(minor === 0 ? [] : [text(minor, statusOf.mechanism)]),
  ].join(': ')
}
