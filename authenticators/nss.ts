import koffi from 'koffi'

/** An account of this machine, from whatever source the machine asks (files, LDAP, SSSD, ...). */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

const libc = koffi.load(null)

const passwd = koffi.struct('passwd', {
  name: 'const char *',
  password: 'void *',
  uid: 'uint32',
  gid: 'uint32',
  gecos: 'void *',
  home: 'void *',
  shell: 'void *',
})
const group = koffi.struct('group', {
  name: 'const char *',
  password: 'void *',
  gid: 'uint32',
  members: 'void *',
})

const getpwnam: (name: string) => bigint | null = libc.func('void *getpwnam(const char *name)')
const getpwuid: (uid: number) => bigint | null = libc.func('void *getpwuid(uint32 uid)')
const getgrnam: (name: string) => bigint | null = libc.func('void *getgrnam(const char *name)')
const getgrgid: (gid: number) => bigint | null = libc.func('void *getgrgid(uint32 gid)')
const getgrouplist: (name: string, gid: number, gids: Uint32Array, count: [number]) => number =
  libc.func(
    'int getgrouplist(const char *name, uint32 gid, _Out_ uint32 *gids, _Inout_ int *count)',
  )

/** What getpwnam(3) says when there is simply no such entry; glibc's sources differ. */
const { ENOENT, ESRCH, EBADF, EPERM } = koffi.os.errno
const notFound = new Set([0, ENOENT, ESRCH, EBADF, EPERM])

/** The account of this name, spelled as its source spells it. Throws when the sources do not answer. */
export function findAccount(name: string): Account | null {
  const found = lookUp(`the account ${JSON.stringify(name)}`, () => getpwnam(name))
  return found === null ? null : (koffi.decode(found, passwd) as Account)
}

/** The first account with the uid of this name: one spelling for all that mean the same account. */
export function ownerOf(name: string): Account | null {
  const account = findAccount(name)
  if (!account) return null
  const found = lookUp(`the account with uid ${account.uid}`, () => getpwuid(account.uid))
  return found === null ? null : (koffi.decode(found, passwd) as Account)
}

export function groupIdOf(name: string): number | null {
  const found = lookUp(`the group ${JSON.stringify(name)}`, () => getgrnam(name))
  return found === null ? null : (koffi.decode(found, group) as { gid: number }).gid
}

/** The primary group and all others. */
export function groupIdsOf({ name, gid }: Account): ReadonlySet<number> {
  for (let room = 64; room <= 65_536; room *= 4) {
    const gids = new Uint32Array(room)
    const count: [number] = [room]
    if (getgrouplist(name, gid, gids, count) >= 0) return new Set(gids.subarray(0, count[0]))
  }
  throw new Error(`the groups of ${JSON.stringify(name)} could not be looked up`)
}

/** Sorted; groups without a name are left out. */
export function groupNames(gids: Iterable<number>): readonly string[] {
  return [...gids].flatMap((gid) => groupName(gid) ?? []).toSorted()
}

function groupName(gid: number): string | null {
  const found = lookUp(`the group ${gid}`, () => getgrgid(gid))
  return found === null ? null : (koffi.decode(found, group) as { name: string }).name
}

/** What is found lies in memory that the next call uses again. */
function lookUp(what: string, find: () => bigint | null): bigint | null {
  koffi.errno(0)
  const found = find()
  const code = koffi.errno()
  if (found !== null || notFound.has(code)) return found
  throw new Error(`${what} could not be looked up (errno ${code})`)
}
