import koffi from 'koffi'
import { nameKey } from 'portico/authenticator'
import { type Account, findAccount, groupIdOf, groupIdsOf, groupNames, ownerOf } from './nss.ts'

/** One question to PAM. Names and answers hold no NUL. */
export interface PamRequest {
  readonly service: string
  readonly name: string
  /** Look the name up first, and go on with the one that its uid belongs to. */
  readonly canonical: boolean
  /** What the modules are told when they prompt, in order. Null: only the account phase. */
  readonly answers: readonly Uint8Array[] | null
  /** The browser's address, for the modules' logs and rules. */
  readonly peerAddress: string
  /** Groups whose membership is asked for, by name. */
  readonly groups: readonly string[]
  /** Whether the names of all groups are asked for. */
  readonly allGroups: boolean
}

export type PamReply =
  | {
      readonly kind: 'accepted'
      /** The name that PAM has in the end: the same that was asked for. */
      readonly name: string
      readonly memberOf: readonly string[]
      readonly unknownGroups: readonly string[]
      /** Null when they were not asked for, or when the machine has no such account. */
      readonly allGroups: readonly string[] | null
    }
  | {
      readonly kind: 'refused'
      /** For the log: the phase, the code, and what the modules said. */
      readonly reason: string
    }
  /** The question could not be asked. */
  | { readonly kind: 'failed'; readonly message: string }

/** `_pam_types.h` of Linux-PAM. */
const success = 0
const authError = 7
const conversationError = 19
const disallowNullAuthtok = 1
const item = { user: 2, tty: 3, peer: 4, failDelay: 10 }
const prompts = new Set([1, 2])

const pam = koffi.load('libpam.so.0')
const libc = koffi.load(null)

const message = koffi.struct('pam_message', { style: 'int', text: 'const char *' })
const response = koffi.struct('pam_response', { text: 'void *', code: 'int' })
const converse = koffi.proto(
  'int pam_converse(int count, void *messages, void *responses, void *data)',
)
const failDelay = koffi.proto('void pam_fail_delay_fn(int status, unsigned int usec, void *data)')
koffi.struct('pam_conv', { converse: koffi.pointer(converse), data: 'void *' })

type Handle = bigint
const start: (
  service: string,
  user: string,
  conversation: { converse: bigint; data: null },
  handle: [Handle | null],
) => number = pam.func(
  'int pam_start(const char *service, const char *user, const pam_conv *conversation, _Out_ void **handle)',
)
const end: (handle: Handle, status: number) => number = pam.func(
  'int pam_end(void *handle, int status)',
)
const authenticate: (handle: Handle, flags: number) => number = pam.func(
  'int pam_authenticate(void *handle, int flags)',
)
const checkAccount: (handle: Handle, flags: number) => number = pam.func(
  'int pam_acct_mgmt(void *handle, int flags)',
)
const setText: (handle: Handle, item: number, value: string) => number = pam.func(
  'pam_set_item',
  'int',
  ['void *', 'int', 'const char *'],
)
const setPointer: (handle: Handle, item: number, value: bigint) => number = pam.func(
  'pam_set_item',
  'int',
  ['void *', 'int', 'void *'],
)
const getItem: (handle: Handle, item: number, value: [bigint | null]) => number = pam.func(
  'int pam_get_item(void *handle, int item, _Out_ void **value)',
)
const describe: (handle: Handle, status: number) => string = pam.func(
  'const char *pam_strerror(void *handle, int status)',
)
const calloc: (count: number, size: number) => bigint | null = libc.func(
  'void *calloc(size_t count, size_t size)',
)
const free: (block: bigint) => void = libc.func('void free(void *block)')
const copy: (to: bigint, from: Uint8Array, size: number) => unknown = libc.func(
  'void *memcpy(void *to, const void *from, size_t size)',
)

/**
 * Runs one transaction: authentication, then always the account phase, empty passwords refused in
 * both. Blocks for as long as the modules do, so it belongs in a process of its own.
 */
export function askPam(request: PamRequest): PamReply {
  const account = request.canonical ? ownerOf(request.name) : findAccount(request.name)
  if (request.canonical && !account) return refused(`there is no account ${quote(request.name)}`)
  if (account && !request.canonical && account.name !== request.name)
    return refused(
      `the account is spelled ${quote(account.name)}: see authenticator.pamNormalizeUsername`,
    )
  if (request.canonical && account && !isKnownAs(nameKey(account.name), account))
    return refused(
      `the hub would take ${quote(account.name)} for ${quote(nameKey(account.name))}, which is another account or none`,
    )
  const name = account?.name ?? request.name
  const outcome = transact({ ...request, name })
  return typeof outcome === 'object' ? outcome : accepted({ ...request, name }, account)
}

/** Whether the machine means this account by that name too: the hub will know it by no other. */
function isKnownAs(name: string, account: Account): boolean {
  return name === account.name || ownerOf(name)?.name === account.name
}

/** True when PAM accepts; otherwise why not. */
function transact(request: PamRequest): true | PamReply {
  const said: string[] = []
  const conversation = koffi.register(
    converseWith(request.answers ?? [], said),
    koffi.pointer(converse),
  )
  // Without this the library would sleep here: a few wrong passwords would hold up everybody, and
  // a quick refusal would tell that a password was right. The hub has one delay for all.
  const delayed = koffi.register(() => {}, koffi.pointer(failDelay))
  const handle: [Handle | null] = [null]
  try {
    const { service, name } = request
    const started = start(service, name, { converse: conversation, data: null }, handle)
    if (started !== success || handle[0] === null)
      return { kind: 'failed', message: `PAM could not be started (${started})` }
    setPointer(handle[0], item.failDelay, delayed)
    setText(handle[0], item.tty, 'portico')
    setText(handle[0], item.peer, request.peerAddress)
    const refusal = phases(handle[0], request)
    if (refusal === null) return true
    return refused([refusal, ...said].join('; '))
  } finally {
    if (handle[0] !== null) end(handle[0], success)
    koffi.unregister(conversation)
    koffi.unregister(delayed)
  }
}

/** Why PAM refuses, or null. */
function phases(handle: Handle, { name, answers }: PamRequest): string | null {
  if (answers !== null) {
    const status = authenticate(handle, disallowNullAuthtok)
    if (status !== success) return `authentication: ${describe(handle, status)} (${status})`
  }
  const status = checkAccount(handle, disallowNullAuthtok)
  if (status !== success) return `account: ${describe(handle, status)} (${status})`
  const user: [bigint | null] = [null]
  if (getItem(handle, item.user, user) !== success || user[0] === null)
    return `PAM does not say whom it has accepted (${authError})`
  const given = koffi.decode.string(user[0])
  return given === name ? null : `PAM has accepted ${quote(given)} instead of ${quote(name)}`
}

/** The conversation function (pam_conv(3)): answers prompts in order, keeps what is only said. */
function converseWith(answers: readonly Uint8Array[], said: string[]) {
  const rest = [...answers]
  return (count: number, messages: bigint, responses: bigint): number => {
    // What is thrown here would count as success.
    try {
      return reply({ count, messages, responses, rest, said })
    } catch {
      return conversationError
    }
  }
}

interface Exchange {
  readonly count: number
  readonly messages: bigint
  readonly responses: bigint
  readonly rest: Uint8Array[]
  readonly said: string[]
}

function reply({ count, messages, responses, rest, said }: Exchange): number {
  if (count < 1 || count > 32) return conversationError
  const size = koffi.sizeof(response)
  const block = calloc(count, size)
  if (block === null) return conversationError
  const texts: bigint[] = []
  for (let index = 0; index < count; index += 1) {
    const at = koffi.decode(messages, index * koffi.sizeof('void *'), 'void *') as bigint
    const { style, text } = koffi.decode(at, message) as { style: number; text: string | null }
    if (!prompts.has(style)) {
      if (said.length < 8) said.push(quote((text ?? '').trim().slice(0, 200)))
      continue
    }
    const answer = rest.shift()
    const copied = answer ? copyOf(answer) : null
    if (copied === null) {
      for (const each of [...texts, block]) free(each)
      said.push(`no answer to the prompt ${quote((text ?? '').trim().slice(0, 200))}`)
      return conversationError
    }
    texts.push(copied)
    koffi.encode(block, index * size, 'void *', copied)
  }
  koffi.encode(responses, 'void *', block)
  return success
}

/** In memory that PAM overwrites and frees. */
function copyOf(answer: Uint8Array): bigint | null {
  const block = calloc(answer.length + 1, 1)
  if (block !== null && answer.length > 0) copy(block, answer, answer.length)
  return block
}

function accepted({ name, groups, allGroups }: PamRequest, account: Account | null): PamReply {
  const wanted = groups.map((group) => ({ group, id: groupIdOf(group) }))
  const ids = account && (groups.length > 0 || allGroups) ? groupIdsOf(account) : new Set<number>()
  return {
    kind: 'accepted',
    name,
    memberOf: wanted.flatMap(({ group, id }) => (id !== null && ids.has(id) ? [group] : [])),
    unknownGroups: wanted.flatMap(({ group, id }) => (id === null ? [group] : [])),
    allGroups: allGroups && account ? groupNames(ids) : null,
  }
}

function refused(reason: string): PamReply {
  return { kind: 'refused', reason }
}

const quote = (text: string): string => JSON.stringify(text)
