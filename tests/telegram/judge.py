#!/usr/bin/env python3
"""A Bot API server for tests whose judgement is not ours.

Every request is checked against aiogram's model of its method (unknown, missing and ill-typed parameters are refused), every reply against
the method's return type, and texts with a parse mode are read by TDLib's own parser, which is the one that Telegram runs. The server keeps
the rules of offsets, of one poller at a time, of lengths and of message numbers.

usage: judge.py          prints its port on standard output

What tests do to it, all by POST with JSON, as the other side of the chat or as fate:
  /_user    {"chat", "user", "text", "topic", "forward", "file": path, "as": "photo"|"voice"|"document"}   somebody writes
  /_press   {"chat", "user", "message", "data"}   somebody presses a button
  /_repeat  {"update_ids": [..]}                  updates come again, in this order
  /_fail    {"method", "times", "code", "description", "retry_after", "hang", "lose", "chat"}
            the method fails so often; "hang": no answer ever; "lose": it is done, and the answer never comes
  /_delete  {"chat", "message"}                   somebody deletes a message
  /_set     other facts
  /_state   what there is: {"log", "messages", "drafts", "updates", "commands", "webhook", "most"}
"""
import asyncio
import collections
import json
import time

import aiogram.methods
import aiogram.types
import aiohttp
import tdjson
from aiohttp import web
from pydantic import TypeAdapter

METHODS = {
    c.__api_method__.lower(): c
    for c in vars(aiogram.methods).values()
    if isinstance(c, type) and isinstance(getattr(c, "__api_method__", None), str)
}
MODES = {
    "MarkdownV2": {"@type": "textParseModeMarkdown", "version": 2},
    "Markdown": {"@type": "textParseModeMarkdown", "version": 1},
    "HTML": {"@type": "textParseModeHTML"},
}
UPLOADS_MB = {"document": 50, "photo": 10, "voice": 50, "audio": 50, "video": 50}
EXTRAS = {
    "voice": {"duration": 1, "mime_type": "audio/ogg"},
    "audio": {"duration": 1, "mime_type": "audio/mpeg"},
    "photo": {"width": 90, "height": 90},
    "video": {"duration": 1, "width": 1, "height": 1},
    "document": {},
}
BOT = {
    "id": 123,
    "is_bot": True,
    "first_name": "Judge",
    "username": "judge_bot",
    "can_join_groups": True,
    "can_read_all_group_messages": False,
    "supports_inline_queries": False,
    "can_connect_to_business": False,
    "has_main_web_app": False,
}
BOT_USER = {k: BOT[k] for k in ("id", "is_bot", "first_name", "username")}


class Refused(Exception):
    def __init__(self, description, code=400, **more):
        super().__init__(description)
        self.description, self.code, self.more = description, code, more


def td(query):
    return json.loads(tdjson.td_execute(json.dumps(query).encode()) or b"null")


def parsed(text, mode, least=1, most=4096):
    """The text without its styles, as Telegram reads it."""
    if len(text.encode()) > 1 << 15:
        raise Refused("Bad Request: Text is too long")
    if mode:
        read = td({"@type": "parseTextEntities", "text": text, "parse_mode": MODES[mode]})
        if read["@type"] == "error":
            raise Refused("Bad Request: " + read["message"].replace("Can't", "can't", 1))
        text = read["text"]
    units = len(text.encode("utf-16-le")) // 2
    if least and not text.strip():
        raise Refused("Bad Request: message text is empty")
    if units > most:
        raise Refused("Bad Request: message is too long" if most == 4096 else "Bad Request: message caption is too long")
    return text


def stripped(value):
    """Without what only the judge knows."""
    if isinstance(value, dict):
        return {k: stripped(v) for k, v in value.items() if not k.startswith("_")}
    return [stripped(v) for v in value] if isinstance(value, list) else value


# What Telegram's FAQ for bots allows (https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this): a message a second
# in a chat, where short bursts are forgiven, twenty a minute in a group, thirty a second in all. Changes of a message count alike.
SAID = ("sendmessage", "sendmessagedraft", "editmessagetext", "editmessagereplymarkup", "sendphoto", "sendvoice", "sendaudio", "senddocument")
ALONE = (12, 10.0)
IN_GROUP = (20, 60.0)
IN_ALL = (30, 1.0)


class Accounts:
    """How often something was said, and whether that was too often."""

    def __init__(self):
        self.said, self.most = {}, {"alone": 0, "group": 0, "all": 0}

    def count(self, chat):
        """Counts one more; answers for how many seconds the bot has to be quiet."""
        rules = [("alone", chat, ALONE) if chat > 0 else ("group", chat, IN_GROUP), ("all", 0, IN_ALL)]
        wait = 0
        for name, key, (most, seconds) in rules:
            now, times = time.time(), self.said.setdefault(key, collections.deque())
            while times and times[0] <= now - seconds:
                times.popleft()
            times.append(now)
            self.most[name] = max(self.most[name], len(times))
            if len(times) > most:
                wait = max(wait, seconds - (now - times[0]))
        return int(wait) + 1 if wait else 0


class Judge:
    def __init__(self):
        self.accounts = None
        self.log, self.updates, self.history, self.drafts = [], [], {}, []
        self.files, self.messages, self.fails = {}, {}, []
        self.numbers = collections.Counter()
        self.polling, self.webhook, self.commands = None, None, None
        self.token = None

    def number(self, kind):
        self.numbers[kind] += 1
        return self.numbers[kind]

    def chat(self, chat):
        if chat > 0:
            return {"id": chat, "type": "private", "first_name": "U"}
        return {"id": chat, "type": "supergroup", "title": "G", "is_forum": True}

    def add_message(self, chat, topic=None, **fields):
        message = {"message_id": self.number("message"), "date": int(time.time()), "chat": self.chat(chat), "from": BOT_USER, **fields}
        if topic:
            message |= {"message_thread_id": topic, "is_topic_message": True}
        self.messages[(chat, message["message_id"])] = message
        return message

    def add_file(self, kind, data, name):
        file_id = f"F{self.number('file')}"
        self.files[file_id] = (f"{kind}s/{file_id}.bin", data)
        file = {"file_id": file_id, "file_unique_id": "u" + file_id, "file_size": len(data), **EXTRAS[kind]}
        return file | ({"file_name": name} if kind == "document" else {})

    def found(self, given, what):
        key = (int(given("chat_id")), int(given("message_id")))
        if key not in self.messages:
            raise Refused(f"Bad Request: message to {what} not found")
        return key, self.messages[key]

    async def call(self, method, given, uploads):
        act = getattr(self, "on_" + method, None)
        if act:
            found = act(given, uploads)
            return await found if asyncio.iscoroutine(found) else found
        if method.startswith("send") and method[4:] in UPLOADS_MB:
            return self.upload(method[4:], given, uploads)
        if METHODS[method].__returning__ is bool:
            return True
        raise Refused(f"Bad Request: JUDGE {method} is real, but not played here", 501)

    def on_getme(self, given, uploads):
        return BOT

    async def on_getupdates(self, given, uploads):
        if self.webhook:
            raise Refused("Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first", 409)
        me = self.polling = object()
        offset, end = int(given("offset") or 0), time.time() + float(given("timeout") or 0)
        while True:
            if self.polling is not me:
                raise Refused("Conflict: terminated by other getUpdates request; make sure that only one bot instance is running", 409)
            if offset:
                self.updates = [u for u in self.updates if u["update_id"] >= offset or u.get("_again")]
            found = [u for u in self.updates if u["update_id"] >= offset or u.get("_again")][: int(given("limit") or 100)]
            if found or time.time() >= end:
                for update in found:
                    update.pop("_again", None)
                return found
            await asyncio.sleep(0.02)

    def on_setwebhook(self, given, uploads):
        self.webhook = {"url": given("url"), "secret": given("secret_token")} if given("url") else None
        return True

    def on_deletewebhook(self, given, uploads):
        self.webhook = None
        return True

    def on_getwebhookinfo(self, given, uploads):
        return {"url": (self.webhook or {}).get("url", ""), "has_custom_certificate": False, "pending_update_count": len(self.updates)}

    def on_setmycommands(self, given, uploads):
        self.commands = given("commands")
        return True

    def on_sendmessage(self, given, uploads):
        chat, answers = int(given("chat_id")), given("reply_parameters")
        if answers and (chat, answers["message_id"]) not in self.messages and not answers.get("allow_sending_without_reply"):
            raise Refused("Bad Request: message to be replied not found")
        text = parsed(given("text"), given("parse_mode"))
        more = {"reply_markup": given("reply_markup")} if given("reply_markup") else {}
        more["_answers"] = (answers or {}).get("message_id")
        # A real message takes the draft away.
        return self.add_message(chat, given("message_thread_id"), text=text, _sent=given("text"), _mode=given("parse_mode"), **more)

    def on_sendmessagedraft(self, given, uploads):
        if int(given("chat_id")) < 0:
            raise Refused("Bad Request: can't send drafts to this chat")
        if not int(given("draft_id")):
            raise Refused("Bad Request: draft_id must be non-zero")
        text = parsed(given("text") or "", given("parse_mode"), least=0)
        self.drafts.append({"time": time.time(), "chat": int(given("chat_id")), "draft": given("draft_id"), "text": text})
        return True

    def own(self, given):
        _, message = self.found(given, "edit")
        if message["from"]["id"] != BOT["id"]:
            raise Refused("Bad Request: message can't be edited")
        return message

    def on_editmessagetext(self, given, uploads):
        message = self.own(given)
        if "text" not in message:
            raise Refused("Bad Request: there is no text in the message to edit")
        text = parsed(given("text"), given("parse_mode"))
        if text == message.get("text"):
            raise Refused(
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the same "
                "as a current content and reply markup of the message"
            )
        message |= {"text": text, "edit_date": int(time.time()), "_sent": given("text")}
        message.setdefault("_edits", []).append(time.time())
        return message

    def on_editmessagereplymarkup(self, given, uploads):
        message = self.own(given)
        if message.get("reply_markup") == given("reply_markup"):
            raise Refused("Bad Request: message is not modified")
        message.pop("reply_markup", None)
        if given("reply_markup"):
            message["reply_markup"] = given("reply_markup")
        answered = self.messages.get((int(given("chat_id")), message.get("_answers")))
        return message | ({"reply_to_message": answered} if answered else {})

    def on_deletemessage(self, given, uploads):
        key, _ = self.found(given, "delete")
        del self.messages[key]
        return True

    def on_getfile(self, given, uploads):
        if given("file_id") not in self.files:
            raise Refused("Bad Request: invalid file_id")
        path, data = self.files[given("file_id")]
        if len(data) > 20 << 20:
            raise Refused("Bad Request: file is too big")
        return {"file_id": given("file_id"), "file_unique_id": "u" + given("file_id"), "file_size": len(data), "file_path": path}

    def upload(self, kind, given, uploads):
        name, data = next(iter(uploads.values()), ("", b""))
        if len(data) > UPLOADS_MB[kind] << 20:
            raise Refused("Request Entity Too Large", 413)
        if kind == "photo" and not data.startswith((b"\x89PNG", b"\xff\xd8")):
            raise Refused("Bad Request: IMAGE_PROCESS_FAILED")
        caption = parsed(given("caption"), given("parse_mode"), 0, 1024) if given("caption") else None
        file = self.add_file(kind, data, name)
        more = {"caption": caption} if caption else {}
        return self.add_message(int(given("chat_id")), given("message_thread_id"), **{kind: [file] if kind == "photo" else file}, **more)

    def failing(self, method, given):
        chat = str(given("chat_id"))
        for fail in self.fails:
            if fail["method"].lower() == method and fail["times"] > 0 and str(fail.get("chat", chat)) == chat:
                fail["times"] -= 1
                return fail
        return {}


judge = Judge()


def validated(method, params, uploads):
    """What was asked, checked by aiogram's model of the method."""
    model = METHODS.get(method)
    if not model:
        raise Refused("Not Found", 404)
    fields = {k: v for k, v in params.items() if k not in uploads}
    unknown = set(fields) - {f.alias or n for n, f in model.model_fields.items()}
    if unknown:
        raise Refused(f"Bad Request: JUDGE {method} has no {sorted(unknown)}")
    try:
        model.model_validate(fields)
    except Exception as error:  # pydantic's, with every fault
        # A file that is uploaded is named, and not there as aiogram has it.
        faults = [f for f in error.errors() if not str(fields.get(f["loc"][0], "")).startswith("attach://")]
        if faults:
            raise Refused(f"Bad Request: JUDGE {method}: {faults}") from error


async def read(request):
    """The parameters and the uploads of a request, in all of the forms that the Bot API takes."""
    if request.content_type == "application/json":
        return (await request.json() if request.can_read_body else {}), {}
    if not request.content_type.startswith("multipart/"):
        return dict(await request.post()) or dict(request.query), {}
    params, uploads = {}, {}
    async for part in await request.multipart():
        data = bytes(await part.read())
        if part.filename is not None:
            uploads[part.name] = (part.filename, data)
            continue
        text = data.decode()
        try:
            params[part.name] = json.loads(text) if text[:1] in "[{" else text
        except ValueError:
            params[part.name] = text
    return params, uploads


async def on_bot(request):
    method = request.match_info["method"].lower()
    params, uploads = await read(request)
    entry = {"time": time.time(), "method": method, "params": params, "uploads": {k: len(v[1]) for k, v in uploads.items()}}
    judge.log.append(entry)
    given = params.get
    try:
        if judge.token not in (None, request.match_info["token"]):
            raise Refused("Unauthorized", 401)
        fail = judge.failing(method, given)
        if fail.get("hang"):
            await asyncio.sleep(3600)
        if fail.get("code"):
            more = {"parameters": {"retry_after": fail["retry_after"]}} if "retry_after" in fail else {}
            raise Refused(fail.get("description", "Bad Gateway"), fail["code"], **more)
        validated(method, params, uploads)
        wait = judge.accounts.count(int(given("chat_id"))) if judge.accounts and method in SAID else 0
        if wait:
            raise Refused(f"Too Many Requests: retry after {wait}", 429, parameters={"retry_after": wait})
        result = stripped(await judge.call(method, given, uploads))
        TypeAdapter(METHODS[method].__returning__).validate_python(result)
        if fail.get("lose"):
            request.transport.abort()
        return web.json_response({"ok": True, "result": result})
    except Refused as refused:
        entry["error"] = refused.description
        answer = {"ok": False, "error_code": refused.code, "description": refused.description, **refused.more}
        return web.json_response(answer, status=refused.code)


async def on_file(request):
    for path, data in judge.files.values():
        if path == request.match_info["path"]:
            return web.Response(body=data)
    return web.json_response({"ok": False, "error_code": 404, "description": "Not Found"}, status=404)


async def bring(update):
    """Gives an update to whoever wants it."""
    aiogram.types.Update.model_validate(stripped(update))
    judge.history[update["update_id"]] = update
    if not judge.webhook:
        judge.updates.append(update)
        return web.json_response(update)
    headers = {"X-Telegram-Bot-Api-Secret-Token": judge.webhook["secret"]} if judge.webhook["secret"] else {}
    async with aiohttp.ClientSession() as session:
        async with session.post(judge.webhook.get("to") or judge.webhook["url"], json=stripped(update), headers=headers) as response:
            return web.json_response({"webhook_status": response.status, "update": update})


def person(user):
    return {"id": user, "is_bot": False, "first_name": "U", "username": f"user{user}"}


async def on_user(request):
    asked = await request.json()
    chat, user, kind = asked.get("chat", 1), asked.get("user", 1), asked.get("as", "document")
    fields = {"from": person(user)}
    if "date" in asked:
        fields["date"] = asked["date"]
    if "file" in asked:
        with open(asked["file"], "rb") as file:
            one = judge.add_file(kind, file.read(), asked["file"].rsplit("/", 1)[-1])
        fields[kind] = [one] if kind == "photo" else one
    if "text" in asked:
        fields["caption" if "file" in asked else "text"] = asked["text"]
    if "answers" in asked:
        fields["reply_to_message"] = stripped(judge.messages[(chat, asked["answers"])])
    if asked.get("forward"):
        fields["forward_origin"] = {"type": "user", "date": 1, "sender_user": person(99)}
    message = judge.add_message(chat, asked.get("topic"), **fields)
    return await bring({"update_id": judge.number("update"), "message": message})


async def on_press(request):
    asked = await request.json()
    message = stripped(judge.messages[(asked["chat"], asked["message"])])
    number = judge.number("update")
    query = {"id": f"q{number}", "from": person(asked["user"]), "chat_instance": "1", "data": asked["data"], "message": message}
    return await bring({"update_id": number, "callback_query": query})


async def on_repeat(request):
    for number in (await request.json())["update_ids"]:
        judge.updates.append(judge.history[number] | {"_again": True})
    return web.json_response({})


async def on_fail(request):
    judge.fails.append({"times": 1} | await request.json())
    return web.json_response({})


async def on_set(request):
    """Other facts: {"token": ..} is the only one that is known from now on, {"webhook_to": ..} is where the public address leads,
    {"limits": true} begins the accounts of how much is said."""
    asked = await request.json()
    judge.token = asked.get("token", judge.token)
    if asked.get("limits"):
        judge.accounts = Accounts()
    if "webhook_to" in asked and judge.webhook:
        judge.webhook["to"] = asked["webhook_to"]
    return web.json_response({})


async def on_delete(request):
    asked = await request.json()
    judge.messages.pop((asked["chat"], asked["message"]), None)
    return web.json_response({})


async def on_state(request):
    state = {"log": judge.log, "messages": list(judge.messages.values()), "drafts": judge.drafts}
    state |= {"updates": judge.updates, "commands": judge.commands, "webhook": judge.webhook}
    state["most"] = judge.accounts and judge.accounts.most
    return web.json_response(state)


async def main():
    td({"@type": "setLogVerbosityLevel", "new_verbosity_level": 0})
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([
        web.route("*", "/bot{token}/{method}", on_bot),
        web.get("/file/bot{token}/{path:.+}", on_file),
        web.post("/_user", on_user),
        web.post("/_press", on_press),
        web.post("/_repeat", on_repeat),
        web.post("/_fail", on_fail),
        web.post("/_set", on_set),
        web.post("/_delete", on_delete),
        web.get("/_state", on_state),
    ])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it.
    await asyncio.get_running_loop().run_in_executor(None, __import__("sys").stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
